"use strict";
/* Charts by Apache ECharts in the page's theme: creation, sizes, tooltips, and the table behind each chart. */
(() => {
    const charts = new Set();
    const tip = fedicu.element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    document.body.append(tip);

    /** Returns the theme's colours as the style sheet states them. */
    fedicu.colors = () => {
        const style = getComputedStyle(document.documentElement);
        const read = name => style.getPropertyValue("--" + name).trim();
        const list = name =>
            read(name)
                .split(",")
                .map(color => color.trim());
        return {
            text: read("text"),
            muted: read("muted"),
            line: read("line"),
            surface: read("surface"),
            empty: read("empty"),
            accent: read("accent"),
            diverging: [read("low"), read("middle"), read("high")],
            scale: list("scale"),
            series: list("series"),
        };
    };

    /** Shows a tooltip at a place of the window: a title and lines. Nothing hides it. */
    fedicu.showTip = (x, y, title, lines) => {
        if (title === undefined) {
            tip.hidden = true;
            return;
        }
        tip.replaceChildren(fedicu.element("b", {}, fedicu.name(title, 120)), ...lines.map(line => fedicu.element("span", {}, line)));
        tip.hidden = false;
        const size = tip.getBoundingClientRect();
        tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - size.width - 8)) + "px";
        tip.style.top = Math.max(4, y + 18 + size.height > innerHeight ? y - size.height - 12 : y + 18) + "px";
    };

    /** An axis of a chart in the theme's colours; the given members take precedence. */
    fedicu.axis = (colors, members) => {
        const { axisLabel, ...others } = members;
        return {
            axisLine: { lineStyle: { color: colors.line } },
            axisTick: { show: false },
            splitLine: { lineStyle: { color: colors.line } },
            nameTextStyle: { color: colors.muted },
            axisLabel: { color: colors.muted, fontSize: 11, hideOverlap: true, ...axisLabel },
            ...others,
        };
    };

    /**
     * Thins the labels of rotated names: one for each 15 pixels of the visible part. ECharts' own thinning does not
     * count the rotation.
     */
    const thin = (chart, width) => {
        const option = chart.getOption(),
            [axis] = option.xAxis ?? [];
        if (axis?.type !== "category" || !axis.axisLabel.rotate) return;
        const zoom = option.dataZoom.find(item => item.xAxisIndex === 0 || item.xAxisIndex?.[0] === 0 || item.orient === "horizontal");
        const visible = (axis.data.length * ((zoom?.end ?? 100) - (zoom?.start ?? 0))) / 100;
        const step = Math.max(1, Math.ceil((15 * visible) / Math.max(width - 150, 100)));
        if (chart.labelStep === step) return;
        chart.labelStep = step;
        chart.setOption({ xAxis: { axisLabel: { interval: index => index % step === 0 } } });
    };

    /**
     * Adds a chart. option(colors, width) returns what ECharts draws; label names the chart for screen readers. table()
     * makes the table behind "Show as table". update() draws again after the data have changed.
     */
    fedicu.chart = (parent, { label, height, option, table, created }) => {
        const place = fedicu.element("div", { class: "chart", role: "img", "aria-label": label });
        place.style.height = height + "px";
        parent.append(place);
        const chart = echarts.init(place, null, { renderer: "canvas" });
        const draw = () => {
            chart.setOption(
                {
                    animation: false,
                    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
                    ...option(fedicu.colors(), place.clientWidth),
                },
                { notMerge: true },
            );
            chart.labelStep = 0;
            thin(chart, place.clientWidth);
        };
        draw();
        chart.on("datazoom", () => thin(chart, place.clientWidth));
        let width = place.clientWidth;
        const sizes = new ResizeObserver(() => {
            if (place.clientWidth === width && place.clientHeight === chart.getHeight()) return;
            width = place.clientWidth;
            chart.resize();
            draw();
        });
        sizes.observe(place);
        created?.(chart);
        const rows = table ? fedicu.disclosure("Show as table", "Hide the table", table) : null;
        if (rows) parent.append(fedicu.element("div", { class: "controls" }, rows.button), rows.place);
        const item = {
            chart,
            place,
            draw,
            update: ({ label: newLabel, height: newHeight } = {}) => {
                if (newLabel) place.setAttribute("aria-label", newLabel);
                // the new data first: a resize draws again what the chart has
                draw();
                if (newHeight) {
                    place.style.height = newHeight + "px";
                    chart.resize();
                }
                rows?.renew();
            },
            remove: () => {
                sizes.disconnect();
                chart.dispose();
                charts.delete(item);
            },
        };
        charts.add(item);
        return item;
    };

    fedicu.onTheme(() => charts.forEach(item => item.draw()));

    /** Removes the charts inside an element, before the element is emptied. */
    fedicu.removeCharts = element => [...charts].filter(item => element.contains(item.place)).forEach(item => item.remove());

    /**
     * Shows tooltips of a chart whose series have an item for each index. text(index, series) returns [title, lines].
     * ECharts' own tooltips would set styles in HTML, which the page's policy refuses.
     */
    fedicu.tips = (chart, text) => {
        chart.on("mousemove", event => {
            const found = text(event.dataIndex, event.seriesIndex);
            if (found) fedicu.showTip(event.event.event.clientX, event.event.event.clientY, found[0], found[1]);
        });
        chart.on("mouseout", () => fedicu.showTip());
        chart.on("globalout", () => fedicu.showTip());
    };
})();
