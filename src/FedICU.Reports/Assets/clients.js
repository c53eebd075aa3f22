"use strict";
/* The clients of a round: who was left out, the table of all, and the heat map of clients by tensors. */
(() => {
    const status = client => (!client.included ? "left out" : client.chosen ? "" : "not chosen");
    const tag = text => (text ? fedicu.element("span", { class: "tag warn" }, text) : "");

    fedicu.leftOut = (parent, detail) => {
        const out = detail.clients.filter(client => !client.included);
        if (out.length === 0 && detail.kept.length === 0) return;
        const section = fedicu.section(
            "Left out",
            "Clients whose updates were not used, and tensors that kept the global model's value.",
            parent,
        );
        if (out.length > 0)
            section.append(
                fedicu.table(
                    "Clients that were left out",
                    [{ name: "Client", kind: "name" }, { name: "Why" }],
                    out.map(client => [client.name, client.reason ?? "no reason stated"]),
                ),
            );
        if (detail.kept.length > 0)
            section.append(
                fedicu.table(
                    "Tensors that were kept",
                    [{ name: "Tensor", kind: "name" }, { name: "Rule" }, { name: "Why" }],
                    detail.kept.map(tensor => [tensor.name, tensor.rule, tensor.reason]),
                ),
            );
    };

    fedicu.clients = (parent, detail) => {
        const measured = detail.clients.some(client => client.norm !== null);
        const number = (name, title, read, format) => ({ name, title, kind: "number", read, format });
        const columns = [
            { name: "Client", kind: "name", read: client => client.name },
            number("Share", "Part of the weights that were given", client => (client.included ? client.share : null), fedicu.percent),
            number("Weight", "The weight that was given, in examples", client => client.weight),
            ...(measured
                ? [
                      number("Cosine", "Of the client's whole update to the mean update", client => client.cosine),
                      number("Update norm", "L2 norm of the client's whole update", client => client.norm),
                  ]
                : []),
            number("Sent", "Size of the tensors that the client sent", client => client.sent, fedicu.bytes),
            ...(detail.weighted > 0
                ? [
                      number("Leads", "Tensors in which the client has the largest weight", client => client.leads),
                      number("Against", "Tensors in which the update points away from the mean", client => client.against),
                  ]
                : []),
            { name: "Status", read: status, format: tag },
        ];
        const used = columns.filter(column => column.name !== "Status" || detail.clients.some(client => status(client)));
        const of =
            detail.weighted > 0
                ? ` Leads and against count over the ${fedicu.count(detail.weighted, "tensor")} that the strategy weighed.`
                : "";
        const section = fedicu.section("Clients", "Press a column's title to sort." + of, parent);
        section.append(
            fedicu.table(
                "Clients",
                used,
                detail.clients.map(client => used.map(column => column.read(client))),
                true,
            ),
        );
    };

    const measures = {
        cosine: { text: "Cosine to the mean update", key: "cosineValues" },
        norm: { text: "Update norm", key: "normValues" },
        relative: { text: "Update norm against the tensor's median", key: "normValues" },
        weight: { text: "Weight", key: "weightValues" },
    };

    const scaleOf = (measure, values) => {
        if (measure === "cosine") return fedicu.diverging(1);
        if (measure === "relative") return fedicu.diverging(3, value => `${2 ** value >= 1 ? 2 ** value : "1/" + 2 ** -value} times`);
        const positive = fedicu.range(values, value => value > 0),
            all = fedicu.range(values);
        if (measure === "norm" && positive[1] > 0) return fedicu.logarithmic(...positive);
        return all[0] < 0 ? fedicu.diverging(Math.max(-all[0], all[1])) : fedicu.sequential(Math.min(0, all[0]), all[1] || 1);
    };

    fedicu.clientsByTensors = (parent, detail) => {
        const known = Object.entries(measures).filter(([, measure]) => detail[measure.key]);
        if (known.length === 0) return;
        const section = fedicu.section(
            "Clients by tensors",
            "Cells without colour were not measured. Sliders zoom; so does the wheel with Ctrl.",
            parent,
        );
        const [names, tensors] = [detail.clients.map(client => client.name), detail.tensors.map(tensor => tensor.name)];
        const numbers = Object.fromEntries(known.map(([name, measure]) => [name, fedicu.floats(detail[measure.key])]));
        if (numbers.relative) {
            const medians = fedicu.columnMedians(numbers.norm, names.length, tensors.length);
            numbers.relative = numbers.norm
                .map((value, at) => Math.log2(value / medians[at % tensors.length]))
                .map(v => (Number.isFinite(v) ? v : NaN));
        }
        // a client that was left out has no numbers
        const rows = names.map((_, row) => row).filter(row => detail.clients[row].included);
        // groups among many clients are seen only side by side; 40 is chosen
        let measure = known[0][0],
            order = detail.likeness && rows.length > 40 ? "alike" : "given",
            client = rows[0] ?? 0;
        const ordered = () => (order === "given" ? rows : detail.likeness.filter(row => detail.clients[row].included));
        const read = () => {
            const values = numbers[measure],
                [low, high] = fedicu.range(values),
                text = measures[measure].text;
            const tip = (row, column) => [
                names[row],
                [
                    tensors[column],
                    ...known
                        .filter(([name]) => name !== "relative")
                        .map(([name, shown]) => `${shown.text}: ${fedicu.number(numbers[name][row * tensors.length + column])}`),
                    `Rule: ${detail.tensors[column].rule}, ${detail.tensors[column].type}`,
                ],
            ];
            return {
                label:
                    `Heat map: ${text}, ${fedicu.count(rows.length, "client")} by ${fedicu.count(tensors.length, "tensor")}, ` +
                    (measure === "relative" ? "on a scale of powers of two" : `from ${fedicu.number(low)} to ${fedicu.number(high)}`),
                rows: rows.map(row => names[row]),
                columns: tensors,
                values,
                scale: scaleOf(measure, values),
                order: ordered(),
                names,
                legend: measure === "norm" ? "logarithmic" : null,
                tip,
            };
        };
        const table = () => {
            const place = fedicu.element("div"),
                body = fedicu.element("div");
            const fill = () =>
                body.replaceChildren(
                    fedicu.table(
                        `Tensors of ${fedicu.cut(names[client])}`,
                        [
                            { name: "Tensor", kind: "name" },
                            ...known.filter(([name]) => name !== "relative").map(([, shown]) => ({ name: shown.text, kind: "number" })),
                            { name: "Rule" },
                        ],
                        tensors.map((tensor, column) => [
                            tensor,
                            ...known
                                .filter(([name]) => name !== "relative")
                                .map(([name]) => numbers[name][client * tensors.length + column]),
                            detail.tensors[column].rule,
                        ]),
                    ),
                );
            const choice = fedicu.select(
                "Client",
                rows.map(row => ({ value: row, text: fedicu.cut(names[row]) })),
                client,
                value => {
                    client = Number(value);
                    fill();
                },
            );
            place.append(fedicu.element("div", { class: "controls" }, choice), body);
            fill();
            return place;
        };
        const controls = fedicu.element("div", { class: "controls" });
        section.append(controls);
        const chart = fedicu.heatMap(section, {
            read,
            table,
            clicked: row => {
                client = row;
                chart.update();
            },
        });
        controls.append(
            fedicu.select(
                "Measure",
                known.map(([value, shown]) => ({ value, text: shown.text })),
                measure,
                value => {
                    measure = value;
                    chart.update();
                },
            ),
            ...(detail.likeness
                ? [
                      fedicu.select(
                          "Order of clients",
                          [
                              { value: "given", text: "as given" },
                              { value: "alike", text: "alike ones side by side" },
                          ],
                          order,
                          value => {
                              order = value;
                              chart.update();
                          },
                      ),
                  ]
                : []),
        );
    };
})();
