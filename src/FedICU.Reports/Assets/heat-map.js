"use strict";
/*
 * Heat maps. ECharts draws axes and zoom. The cells are one image of the visible part, which a custom series places:
 * 224,000 cells as shapes of their own would take seconds and much memory.
 */
(() => {
    const rowsAtOnce = 40,
        columnsAtOnce = 60; // above these a slider appears; chosen: labels stay readable
    const tallest = 620,
        rowHeight = 26,
        leastHeight = 60; // pixels of the cells

    /** Draws every cell as a pixel. */
    const paint = (map, colors) => {
        const { rows, columns, values, scale, order } = map;
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [columns.length, rows.length];
        const context = canvas.getContext("2d"),
            image = context.createImageData(columns.length, rows.length);
        const palette = fedicu.palette(scale.diverging ? colors.diverging : colors.scale);
        const [empty] = fedicu.palette([colors.empty, colors.empty]);
        for (let row = 0, to = 0; row < rows.length; row++) {
            for (let column = 0; column < columns.length; column++, to += 4) {
                const value = values[order[row] * columns.length + column];
                const color = Number.isNaN(value)
                    ? empty
                    : palette[Math.min(Math.max(Math.round(scale.part(value) * (palette.length - 1)), 0), palette.length - 1)];
                image.data.set(color, to);
                image.data[to + 3] = 255;
            }
        }
        context.putImageData(image, 0, 0);
        return canvas;
    };

    /** Cuts the visible part out of the image, at the screen's resolution. */
    const cut = (cells, grid, origin, size, line) => {
        const ratio = devicePixelRatio || 1,
            canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [Math.round(grid.width * ratio), Math.round(grid.height * ratio)];
        const context = canvas.getContext("2d");
        // cells smaller than a pixel are averaged, larger ones keep their edges
        context.imageSmoothingEnabled = size[0] * ratio < 1 || size[1] * ratio < 1;
        context.imageSmoothingQuality = "high";
        context.scale(ratio, ratio);
        context.drawImage(cells, origin[0] - grid.x, origin[1] - grid.y, size[0] * cells.width, size[1] * cells.height);
        context.fillStyle = line;
        if (size[0] >= 7)
            for (let x = origin[0] - grid.x; x <= grid.width + 1; x += size[0]) context.fillRect(x - 0.5, 0, 1, grid.height);
        if (size[1] >= 7)
            for (let y = origin[1] - grid.y; y <= grid.height + 1; y += size[1]) context.fillRect(0, y - 0.5, grid.width, 1);
        return canvas;
    };

    const legend = (place, map, colors) => {
        const bar = fedicu.element("span", { class: "bar", "aria-hidden": "true" });
        bar.style.background = `linear-gradient(to right, ${(map.scale.diverging ? colors.diverging : colors.scale).join(", ")})`;
        place.replaceChildren(
            fedicu.element("span", {}, map.scale.labels[0]),
            bar,
            fedicu.element("span", {}, map.scale.labels[2]),
            ...(map.scale.diverging ? [fedicu.element("span", { class: "middle" }, `middle ${map.scale.labels[1]}`)] : []),
        );
        if (map.legend) place.append(fedicu.element("span", { class: "middle" }, map.legend));
    };

    const slider = (axis, count, most, colors, place) =>
        count <= most
            ? []
            : [
                  {
                      type: "slider",
                      [axis]: 0,
                      filterMode: "none",
                      showDetail: false,
                      brushSelect: false,
                      borderColor: colors.line,
                      fillerColor: colors.accent + "33",
                      backgroundColor: "transparent",
                      dataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
                      handleStyle: { color: colors.surface, borderColor: colors.accent },
                      moveHandleStyle: { color: colors.line },
                      ...place,
                  },
                  {
                      type: "inside",
                      [axis]: 0,
                      filterMode: "none",
                      zoomOnMouseWheel: "ctrl",
                      moveOnMouseMove: true,
                      moveOnMouseWheel: false,
                  },
              ];

    /**
     * Adds a heat map. read() returns {label, rows, names, columns, values, scale, order, legend, tip(row, column)}: the
     * names of the shown rows and of all, numbers by row, and the shown rows in their order. Returns the chart, whose
     * update() reads again.
     */
    fedicu.heatMap = (parent, { read, table, clicked }) => {
        const scaleLine = fedicu.element("div", { class: "legend" });
        parent.append(scaleLine);
        let map, short;
        const load = () => {
            map = read();
            map.names ??= map.rows;
            short = fedicu.shorten(map.columns);
        };
        const margins = width => {
            const narrow = width < 700;
            const widest = names => 7 * names.reduce((most, name) => Math.max(most, Math.min(Array.from(name).length, 40)), 1);
            return {
                left: Math.min(widest(map.rows) + 14, narrow ? 92 : 190),
                bottom: Math.min(widest(short) * 0.75 + 16, narrow ? 96 : 150),
                right: map.rows.length > rowsAtOnce ? 30 : 8,
                top: 4,
                zoom: map.columns.length > columnsAtOnce ? 26 : 0,
            };
        };
        const height = width => {
            const { bottom, top, zoom } = margins(width);
            return Math.max(Math.min(map.rows.length * rowHeight, tallest), leastHeight) + bottom + top + zoom;
        };
        const option = (colors, width) => {
            load();
            legend(scaleLine, map, colors);
            const { left, right, top, bottom, zoom } = margins(width),
                cells = paint(map, colors);
            const axis = (names, members) =>
                fedicu.axis(colors, { type: "category", data: names.map((_, at) => at), splitLine: { show: false }, ...members });
            return {
                grid: { left, right, top, bottom: bottom + zoom, outerBoundsMode: "none" },
                xAxis: axis(map.columns, {
                    axisLabel: { rotate: 60, width: bottom * 1.08, overflow: "truncate", formatter: at => short[at] },
                }),
                yAxis: axis(map.rows, {
                    inverse: true,
                    axisLabel: { width: left - 12, overflow: "truncate", formatter: at => fedicu.cut(map.names[map.order[at]], 40) },
                }),
                dataZoom: [
                    ...slider("xAxisIndex", map.columns.length, columnsAtOnce, colors, { bottom: 2, height: 16 }),
                    ...slider("yAxisIndex", map.rows.length, rowsAtOnce, colors, { right: 4, width: 16, orient: "vertical" }),
                ],
                series: [
                    {
                        type: "custom",
                        data: [[0, 0]],
                        clip: true,
                        silent: true,
                        encode: { x: 0, y: 1 },
                        renderItem: (params, api) => {
                            const grid = params.coordSys,
                                size = api.size([1, 1]),
                                center = api.coord([0, 0]);
                            const part = cut(cells, grid, [center[0] - size[0] / 2, center[1] - size[1] / 2], size, colors.surface);
                            return {
                                type: "image",
                                style: { image: part, x: grid.x, y: grid.y, width: grid.width, height: grid.height },
                            };
                        },
                    },
                ],
            };
        };
        load();
        const item = fedicu.chart(parent, {
            label: map.label,
            height: height(parent.clientWidth),
            option,
            table,
            created: chart => {
                const find = event => {
                    const at = [event.offsetX, event.offsetY];
                    if (!chart.containPixel("grid", at)) return null;
                    const [column, row] = chart.convertFromPixel("grid", at).map(Math.round);
                    return row >= 0 && row < map.rows.length && column >= 0 && column < map.columns.length
                        ? [map.order[row], column]
                        : null;
                };
                chart.getZr().on("mousemove", event => {
                    const cell = find(event);
                    if (cell) fedicu.showTip(event.event.clientX, event.event.clientY, ...map.tip(...cell));
                    else fedicu.showTip();
                });
                chart.getZr().on("globalout", () => fedicu.showTip());
                if (clicked)
                    chart.getZr().on("click", event => {
                        const cell = find(event);
                        if (cell) clicked(...cell);
                    });
            },
        });
        const update = item.update;
        item.update = () => {
            load();
            update({ label: map.label, height: height(item.place.clientWidth) });
        };
        return item;
    };
})();
