"use strict";
/* The page of a comparison: figures, bars of a metric, lines of sweeps, time and memory, and a table of all runs. */
(() => {
    const comparison = fedicu.data("comparison");
    const runs = comparison.runs.map(run => ({
        ...run,
        options: new Map(run.options),
        metrics: new Map(run.metrics.map(([name, value]) => [name, Number(value)])),
    }));
    const names = [...new Set(runs.flatMap(run => [...run.metrics.keys()]))];
    let metric = names.includes(comparison.metric) ? comparison.metric : names[0];
    const longestLabel = 34; // characters of a run's name beside its bar, chosen: about a third of the page
    const labelWidth = 6.6; // pixels of a character of a label at its size, measured
    const barHeight = 24; // pixels for a bar with its gap, chosen
    const finite = value => (Number.isFinite(value) ? value : null);
    const valueOf = run => run.metrics.get(metric);
    const show = value => (value === undefined || value === null ? "–" : Number.isFinite(value) ? fedicu.number(value) : String(value));
    const digest = value => (value ? value.replace(/^[^:]*:/, "").slice(0, 12) : "–");
    const note = run =>
        run.failure
            ? "failed: " + run.failure
            : [run.name === comparison.best ? "best" : null, run.same ? "same model as " + run.same : null].filter(Boolean).join(", ");

    const shorten = (name, width) => fedicu.cut(name, width < 700 ? 18 : longestLabel);

    /** Draws a horizontal bar for each run; the best one in the accent, runs without a value as a gap. */
    const bars = (parent, { label, value, format, shown = runs, axisName }) =>
        fedicu.chart(parent, {
            label,
            height: 56 + barHeight * shown.length,
            option: (colors, width) => ({
                grid: {
                    left: 16 + labelWidth * Math.max(0, ...shown.map(run => shorten(run.name, width).length)),
                    right: 72,
                    top: 8,
                    bottom: 46,
                },
                xAxis: fedicu.axis(colors, {
                    type: "value",
                    name: axisName,
                    nameLocation: "middle",
                    nameGap: 28,
                    scale: false,
                    axisLabel: { formatter: format },
                }),
                yAxis: fedicu.axis(colors, {
                    type: "category",
                    inverse: true,
                    data: shown.map(run => run.name),
                    splitLine: { show: false },
                    axisLabel: { interval: 0, hideOverlap: false, formatter: name => shorten(name, width) },
                }),
                series: [
                    {
                        type: "bar",
                        barMaxWidth: 16,
                        data: shown.map(run => ({
                            value: finite(value(run)),
                            itemStyle: {
                                color: run.name === comparison.best ? colors.series[1] : run.strategy ? colors.series[0] : colors.muted,
                            },
                        })),
                        label: {
                            show: true,
                            position: "right",
                            color: colors.muted,
                            fontSize: 11,
                            formatter: item => format(item.value),
                        },
                    },
                ],
            }),
            created: chart =>
                fedicu.tips(chart, index => [shown[index].name, [format(value(shown[index])), note(shown[index])].filter(Boolean)]),
            table: () =>
                fedicu.table(
                    label,
                    [
                        { name: "Run", kind: "name" },
                        { name: axisName || label, kind: "number", format },
                    ],
                    shown.map(run => [run.name, value(run)]),
                ),
        });

    /** Finds options with several numeric values: a line for each strategy and combination of its other options. */
    const sweeps = () => {
        const found = new Map();
        for (const run of runs) {
            for (const [option, text] of run.options) {
                const x = text === "inf" ? Infinity : text.trim() === "" ? NaN : Number(text);
                if (Number.isNaN(x)) continue;
                const others = [...run.options].filter(([name]) => name !== option).map(pair => pair.join("="));
                const sweep = found.get(option) ?? found.set(option, new Map()).get(option);
                const line = [run.strategy.replaceAll(",", "+"), ...others].join(" ");
                (sweep.get(line) ?? sweep.set(line, []).get(line)).push({ x, text, run });
            }
        }
        return [...found]
            .map(([option, lines]) => ({
                option,
                lines: [...lines].filter(([, points]) => new Set(points.map(point => point.x)).size > 1),
            }))
            .filter(sweep => sweep.lines.length > 0);
    };

    const drawSweep = (parent, { option, lines }) => {
        // values stand at equal distances: they are often powers, and may be infinite
        const values = [...new Set(lines.flatMap(([, points]) => points.map(point => point.x)))].sort((a, b) => a - b);
        const label = () => `${metric} over ${option}`;
        return fedicu.chart(parent, {
            label: label(),
            height: 300,
            option: colors => ({
                color: colors.series,
                grid: { left: 12, right: 24, top: lines.length > 1 ? 60 : 30, bottom: 34, containLabel: true },
                legend: {
                    show: lines.length > 1,
                    type: "scroll",
                    top: 0,
                    textStyle: { color: colors.text },
                    formatter: name => fedicu.cut(name, longestLabel),
                },
                xAxis: fedicu.axis(colors, {
                    type: "category",
                    data: values.map(value => (value === Infinity ? "inf" : String(value))),
                    name: option,
                    nameLocation: "middle",
                    nameGap: 28,
                }),
                yAxis: fedicu.axis(colors, {
                    type: "value",
                    scale: true,
                    name: metric,
                    nameTextStyle: { color: colors.muted, align: "left" },
                }),
                series: lines.map(([name, points], index) => ({
                    name,
                    type: "line",
                    symbol: ["circle", "rect", "triangle", "diamond"][index % 4],
                    symbolSize: 8,
                    connectNulls: true,
                    data: values.map(value => finite(valueOf(points.find(point => point.x === value)?.run ?? { metrics: new Map() }))),
                })),
            }),
            created: chart =>
                fedicu.tips(chart, (index, series) => [
                    lines[series][0],
                    [
                        `${option} = ${values[index]}`,
                        `${metric} ${show(valueOf(lines[series][1].find(point => point.x === values[index]).run))}`,
                    ],
                ]),
            table: () =>
                fedicu.table(
                    label(),
                    [
                        { name: "Run", kind: "name" },
                        { name: option, kind: "number", format: String },
                        { name: metric, kind: "number", format: show },
                    ],
                    lines.flatMap(([, points]) => points.map(point => [point.run.name, point.x, valueOf(point.run)])),
                ),
        });
    };

    const figures = fedicu.element("dl", { class: "figures" });
    const best = runs.find(run => run.name === comparison.best);
    [
        ["Runs", runs.length],
        ["Failed", runs.filter(run => run.failure).length],
        ["Best", best ? fedicu.name(best.name) : null],
        [comparison.metric, best ? show(best.metrics.get(comparison.metric)) : null],
    ]
        .filter(([, value]) => value !== null)
        .forEach(([name, value]) =>
            figures.append(fedicu.element("div", {}, fedicu.element("dt", {}, name), fedicu.element("dd", {}, value))),
        );
    const head = fedicu.section("Comparison", comparison.description);
    head.append(figures);

    if (names.length > 0) {
        const section = fedicu.section(
            "Metric",
            "Each bar is the evaluation of one run's model. The grey bar is the global model before the round.",
        );
        const controls = fedicu.element("div", { class: "controls" });
        section.append(controls);
        const drawn = [];
        const place = fedicu.element("div");
        section.append(place);
        const draw = () => {
            fedicu.removeCharts(place);
            place.replaceChildren();
            bars(place, { label: `${metric} of each run`, value: valueOf, format: show, axisName: metric });
            drawn.forEach(chart => chart.update());
        };
        if (names.length > 1)
            controls.append(
                fedicu.select(
                    "Metric",
                    names.map(name => ({ value: name, text: name })),
                    metric,
                    value => {
                        metric = value;
                        draw();
                    },
                ),
            );
        draw();
        const found = sweeps();
        if (found.length > 0) {
            const lines = fedicu.section("Sweeps", "The metric over each option that has several values. They stand at equal distances.");
            found.forEach(sweep => drawn.push(drawSweep(lines, sweep)));
        }
    }

    const made = runs.filter(run => run.strategy);
    const cost = fedicu.section(
        "Cost",
        "The time of each round without the start of its process, and the most memory that the process had in use.",
    );
    bars(cost, { label: "Seconds of each round", value: run => run.seconds, format: show, shown: made, axisName: "seconds" });
    if (made.some(run => run.memory !== null)) {
        const bytes = value => (value === null || value === undefined ? "–" : fedicu.bytes(value));
        bars(cost, { label: "Peak memory of each round", value: run => run.memory, format: bytes, shown: made, axisName: "memory" });
    }

    const all = fedicu.section("All runs");
    const bytes = value => (value === null ? "–" : fedicu.bytes(value));
    all.append(
        fedicu.table(
            "All runs",
            [
                { name: "Run", kind: "name" },
                ...names.map(name => ({ name: fedicu.cut(name, 24), title: name, kind: "number", format: show })),
                { name: "Seconds", kind: "number", format: show },
                { name: "Evaluation, s", kind: "number", format: show },
                { name: "Memory", kind: "number", format: bytes },
                { name: "Digest", format: digest },
                {
                    name: "Note",
                    format: text =>
                        text === "" ? "" : fedicu.element("span", { class: text.startsWith("failed") ? "tag warn" : "tag" }, text),
                },
            ],
            runs.map(run => [
                run.name,
                ...names.map(name => run.metrics.get(name)),
                run.seconds,
                run.evaluation,
                run.memory,
                run.digest,
                note(run),
            ]),
            true,
        ),
    );
})();
