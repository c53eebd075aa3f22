"use strict";
/* Several rounds: their table, and norms over rounds. */
(() => {
    fedicu.rounds = rounds => {
        const measured = rounds.some(round => round.meanUpdateNorm !== null);
        const section = fedicu.section(
            "Rounds",
            measured
                ? "Norms of the clients' whole updates, and of their weighted mean. " + "The closer the two, the more the clients agree."
                : null,
        );
        if (measured) draw(section, rounds);
        section.append(
            fedicu.table(
                "Rounds",
                [
                    { name: "Round" },
                    { name: "Strategy", kind: "name" },
                    { name: "Clients in", kind: "number" },
                    { name: "Left out", kind: "number" },
                    ...(measured
                        ? [
                              { name: "Mean update norm", kind: "number" },
                              { name: "Norm of the mean", kind: "number" },
                          ]
                        : []),
                    { name: "Notes" },
                ],
                rounds.map(round => [
                    round.label,
                    round.strategy,
                    round.included,
                    round.clients - round.included,
                    ...(measured ? [round.meanUpdateNorm, round.normOfMean] : []),
                    round.private ? "private" : "",
                ]),
            ),
        );
    };

    const draw = (section, rounds) => {
        const labels = rounds.map(round => round.label);
        // of many clients the page has quantiles
        const each = rounds.every(round => round.norms),
            norms = rounds.map(round => new Map(round.norms ?? []));
        const names = [...new Set(norms.flatMap(norm => [...norm.keys()]))];
        const at = quantile => rounds.map(round => round.quantiles[quantile] ?? null);
        const lines = colors =>
            [
                { name: "mean update norm", data: rounds.map(round => round.meanUpdateNorm), color: colors.series[0] },
                { name: "norm of the mean", data: rounds.map(round => round.normOfMean), color: colors.series[1] },
            ].map(line => ({
                type: "line",
                z: 5,
                symbolSize: 7,
                symbol: "circle",
                lineStyle: { width: 2.5 },
                itemStyle: { color: line.color },
                name: line.name,
                data: line.data,
            }));
        // a band is an invisible line and, stacked on it, the area up to the upper one
        const band = (low, high, name, colors, opacity) =>
            [at(low), at(high)].map((values, upper, both) => ({
                type: "line",
                stack: name,
                symbol: "none",
                silent: true,
                lineStyle: { opacity: 0 },
                name: upper ? name : name + " ",
                areaStyle: upper ? { color: colors.series[0], opacity } : { opacity: 0 },
                itemStyle: { color: colors.series[0], opacity },
                data: upper ? values.map((value, round) => (value === null ? null : value - both[0][round])) : values,
            }));
        const option = colors => ({
            grid: { left: 58, right: 16, top: 38, bottom: 44, outerBoundsMode: "none" },
            legend: {
                top: 0,
                left: 0,
                type: "scroll",
                textStyle: { color: colors.text },
                pageTextStyle: { color: colors.text },
                itemWidth: 18,
                data: ["mean update norm", "norm of the mean", ...(each ? [] : ["half of the clients", "80 % of the clients"])],
            },
            xAxis: fedicu.axis(colors, {
                type: "category",
                data: labels,
                name: "round",
                nameLocation: "middle",
                nameGap: 26,
                boundaryGap: false,
            }),
            yAxis: fedicu.axis(colors, { type: "value", axisLabel: { formatter: fedicu.number } }),
            series: [
                ...lines(colors),
                ...(each
                    ? names.map(name => ({
                          type: "line",
                          name: "client " + name,
                          symbol: "none",
                          silent: true,
                          lineStyle: { width: 1, color: colors.muted, opacity: 0.45 },
                          data: norms.map(norm => norm.get(name) ?? null),
                      }))
                    : [...band(0, 3, "80 % of the clients", colors, 0.13), ...band(1, 2, "half of the clients", colors, 0.22)]),
            ],
        });
        const chart = fedicu.chart(section, {
            label:
                `Lines: mean update norm and norm of the mean over ${fedicu.count(rounds.length, "round")}` +
                (each ? ", with a thin line for each client" : ", with bands of the clients' quantiles"),
            height: 320,
            option,
        });
        fedicu.tips(chart.chart, (index, line) =>
            line < 2
                ? [
                      `Round ${labels[index]}`,
                      [
                          `Mean update norm: ${fedicu.number(rounds[index].meanUpdateNorm)}`,
                          `Norm of the mean: ${fedicu.number(rounds[index].normOfMean)}`,
                      ],
                  ]
                : null,
        );
    };
})();
