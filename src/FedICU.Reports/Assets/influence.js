"use strict";
/* How clients relate: similarity of their updates, and who pulls where. Also LoRA pairs and the stages' numbers. */
(() => {
    fedicu.similarity = (parent, detail) => {
        const known = detail.similarities;
        if (!known) return;
        const section = fedicu.section(
            "Similarity of clients",
            "The cosine of each two clients' whole updates. Alike clients stand side by side.",
            parent,
        );
        const values = fedicu.floats(known.cosineValues),
            { clients, likeness } = known,
            count = clients.length;
        // both axes in the order of likeness
        const turned = values.map((_, at) => values[Math.floor(at / count) * count + likeness[at % count]]);
        const columns = likeness.map(row => clients[row]);
        fedicu.heatMap(section, {
            read: () => ({
                label: `Heat map: cosines between ${fedicu.count(count, "client")}`,
                rows: clients,
                columns,
                values: turned,
                scale: fedicu.diverging(1),
                order: likeness,
                tip: (row, column) => [
                    clients[row],
                    [`and ${fedicu.cut(columns[column])}`, `Cosine: ${fedicu.number(turned[row * count + column])}`],
                ],
            }),
            table: () =>
                fedicu.table(
                    "Each client's most and least alike",
                    [
                        { name: "Client", kind: "name" },
                        { name: "Most alike", kind: "name" },
                        { name: "Cosine", kind: "number" },
                        { name: "Least alike", kind: "name" },
                        { name: "Cosine", kind: "number" },
                    ],
                    clients.map((name, row) => {
                        const others = clients
                            .map((_, other) => other)
                            .filter(other => other !== row)
                            .sort((a, b) => values[row * count + b] - values[row * count + a]);
                        const [most, least] = [others[0], others[others.length - 1]];
                        return [name, clients[most], values[row * count + most], clients[least], values[row * count + least]];
                    }),
                ),
        });
    };

    fedicu.pulls = (parent, detail) => {
        if (!detail.layers) return;
        const counts = { leads: fedicu.floats(detail.leadValues), against: fedicu.floats(detail.againstValues) };
        const { layers, layerSizes: sizes } = detail,
            names = detail.clients.map(client => client.name),
            width = layers.length;
        const total = (row, numbers) => numbers.subarray(row * width, row * width + width).reduce((sum, value) => sum + (value || 0), 0);
        const rows = names
            .map((_, row) => row)
            .filter(row => total(row, counts.leads) + total(row, counts.against) > 0)
            .sort(
                (a, b) => total(b, counts.leads) - total(a, counts.leads) || total(b, counts.against) - total(a, counts.against) || a - b,
            );
        const section = fedicu.section(
            "Who pulls where",
            "Leads: the client has the largest weight in a tensor, and no other has the same. " +
                "Against: its update points away from the mean.",
            parent,
        );
        if (rows.length === 0) {
            section.append(fedicu.element("p", {}, "No client leads a tensor, and none goes against the mean."));
            return;
        }
        const modes = { leads: "leads", against: "goes against the mean" };
        let mode = rows.some(row => total(row, counts.leads) > 0) ? "leads" : "against";
        const read = () => {
            const shown = rows.filter(row => total(row, counts[mode]) > 0);
            const used = shown.length > 0 ? shown : rows;
            return {
                label:
                    `Heat map: share of each layer's tensors that a client ${modes[mode]}, ` +
                    `${fedicu.count(used.length, "client")} by ${fedicu.count(width, "layer")}`,
                rows: used.map(row => names[row]),
                names,
                columns: layers,
                values: counts[mode].map((value, at) => value / sizes[at % width]),
                scale: fedicu.sequential(
                    0,
                    used.reduce(
                        (most, row) =>
                            layers.reduce((largest, _, at) => Math.max(largest, (counts[mode][row * width + at] || 0) / sizes[at]), most),
                        0,
                    ),
                    fedicu.percent,
                ),
                order: used,
                legend: "of the layer's tensors",
                tip: (row, column) => [
                    names[row],
                    [
                        layers[column],
                        `${modes[mode]} in ${counts[mode][row * width + column] || 0} of ${fedicu.count(sizes[column], "tensor")}`,
                    ],
                ],
            };
        };
        const best = (numbers, column) =>
            rows.reduce(
                (most, row) => ((numbers[row * width + column] || 0) > (most < 0 ? 0 : numbers[most * width + column]) ? row : most),
                -1,
            );
        const controls = fedicu.element("div", { class: "controls" });
        section.append(controls);
        const chart = fedicu.heatMap(section, {
            read,
            table: () =>
                fedicu.table(
                    "Who pulls in each layer",
                    [
                        { name: "Layer", kind: "name" },
                        { name: "Tensors", kind: "number" },
                        { name: "Leads most", kind: "name" },
                        { name: "In", kind: "number" },
                        { name: "Most against", kind: "name" },
                        { name: "In", kind: "number" },
                    ],
                    layers.map((layer, column) => {
                        const [lead, against] = [best(counts.leads, column), best(counts.against, column)];
                        return [
                            layer,
                            sizes[column],
                            lead < 0 ? "\u2013" : names[lead],
                            lead < 0 ? null : counts.leads[lead * width + column],
                            against < 0 ? "\u2013" : names[against],
                            against < 0 ? null : counts.against[against * width + column],
                        ];
                    }),
                ),
        });
        controls.append(
            fedicu.select(
                "Shown",
                [
                    { value: "leads", text: "who leads" },
                    { value: "against", text: "who goes against the mean" },
                ],
                mode,
                value => {
                    mode = value;
                    chart.update();
                },
            ),
        );
    };

    /** Adds bars over names, with a slider where there are many; series is a list of {name, values, warn}. */
    const bars = (parent, label, names, series, table) => {
        const short = fedicu.shorten(names),
            most = 60,
            longest = short.reduce((most, name) => Math.max(most, Math.min(name.length, 40)), 1);
        const bottom = width => Math.min(longest * 6.2 + 18, width < 700 ? 90 : 120);
        const chart = fedicu.chart(parent, {
            label,
            height: 210 + bottom(parent.clientWidth),
            table,
            option: (colors, width) => ({
                grid: {
                    left: 58,
                    right: 10,
                    top: series.length > 1 ? 34 : 12,
                    bottom: bottom(width) + (names.length > most ? 24 : 0),
                    outerBoundsMode: "none",
                },
                legend: series.length > 1 ? { top: 0, left: 0, textStyle: { color: colors.text }, itemWidth: 14 } : undefined,
                xAxis: fedicu.axis(colors, {
                    type: "category",
                    data: names.map((_, at) => at),
                    axisLabel: { rotate: 60, width: bottom(width) * 1.05, overflow: "truncate", formatter: at => short[at] },
                }),
                yAxis: fedicu.axis(colors, { type: "value", axisLabel: { formatter: fedicu.number } }),
                dataZoom:
                    names.length > most
                        ? [
                              {
                                  type: "slider",
                                  filterMode: "none",
                                  bottom: 2,
                                  height: 16,
                                  showDetail: false,
                                  brushSelect: false,
                                  borderColor: colors.line,
                                  fillerColor: colors.accent + "33",
                                  handleStyle: { color: colors.surface, borderColor: colors.accent },
                              },
                          ]
                        : [],
                series: series.map((item, at) => ({
                    type: "bar",
                    name: item.name,
                    barMaxWidth: 28,
                    barGap: "10%",
                    itemStyle: { color: colors.series[at], borderRadius: [3, 3, 0, 0] },
                    data: item.values.map((value, row) => ({
                        value,
                        itemStyle: item.faded?.[row] ? { color: colors.series[1], opacity: 0.75 } : undefined,
                    })),
                })),
            }),
        });
        fedicu.tips(chart.chart, (index, at) => [names[index], [`${series[at].name}: ${fedicu.number(series[at].values[index])}`]]);
    };

    fedicu.pairs = (parent, detail) => {
        const columns = [
            ["crossTerm", "Cross-term"],
            ["error", "Relative error"],
            ["rank", "Rank"],
            ["effectiveRank", "Effective rank"],
            ["overlapOfA", "Overlap of A"],
            ["overlapOfB", "Overlap of B"],
        ].filter(([key]) => detail.pairs.some(pair => pair[key] !== null));
        if (columns.length === 0) return;
        const section = fedicu.section(
            "LoRA errors",
            "Cross-term: how far the product of averaged factors is from the average of the products. " +
                "Relative error: how far the written factors are from it.",
            parent,
        );
        const table = () =>
            fedicu.table(
                "LoRA pairs",
                [{ name: "Module", kind: "name" }, ...columns.map(([, name]) => ({ name, kind: "number" }))],
                detail.pairs.map(pair => [pair.name, ...columns.map(([key]) => pair[key])]),
            );
        const drawn = columns.filter(([key]) => key === "crossTerm" || key === "error");
        if (drawn.length === 0) section.append(table());
        else
            bars(
                section,
                `Bars: ${drawn.map(([, name]) => name.toLowerCase()).join(" and ")} of ${fedicu.count(detail.pairs.length, "LoRA pair")}`,
                detail.pairs.map(pair => pair.name),
                drawn.map(([key, name]) => ({ name, values: detail.pairs.map(pair => pair[key]) })),
                table,
            );
    };

    fedicu.stages = (parent, detail) =>
        detail.stages
            .filter(stage => stage.values.some(item => item.value !== null))
            .forEach(stage => {
                const sorted = [...stage.values].sort((a, b) => b.value - a.value),
                    some = sorted.some(item => !item.chosen);
                const section = fedicu.section(
                    stage.name,
                    "A number of each client that a stage of the strategy computed." +
                        (some ? " Clients that were not chosen have another colour." : ""),
                    parent,
                );
                bars(
                    section,
                    `Bars: ${stage.name} of ${fedicu.count(sorted.length, "client")}`,
                    sorted.map(item => item.client),
                    [{ name: stage.name, values: sorted.map(item => item.value), faded: sorted.map(item => !item.chosen) }],
                    () =>
                        fedicu.table(
                            stage.name,
                            [{ name: "Client", kind: "name" }, { name: "Value", kind: "number" }, { name: "Status" }],
                            stage.values.map(item => [item.client, item.value, item.chosen ? "chosen" : "not chosen"]),
                        ),
                );
            });
})();
