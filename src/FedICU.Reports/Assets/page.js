"use strict";
/*
 * The shell of a page: data, text, theme, sections and sortable tables. Every text from the data reaches the page by
 * textContent, never as HTML.
 */
const fedicu = {};

(() => {
    const longestName = 64; // characters of a name in a table, chosen: it fits a column

    /** Returns the JSON document that the page carries under an id. */
    fedicu.data = id => JSON.parse(document.getElementById(id).textContent);

    /** Returns the little-endian float32 numbers of a base64 text. */
    fedicu.floats = text => {
        const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
        return new Float32Array(bytes.buffer);
    };

    /** Creates an element with attributes and children; a child that is no element is text. */
    fedicu.element = (name, attributes = {}, ...children) => {
        const element = document.createElement(name);
        for (const [key, value] of Object.entries(attributes))
            if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
        element.append(...children);
        return element;
    };

    /** Cuts the middle out of a name that is too long. */
    fedicu.cut = (name, longest = longestName) => {
        const characters = Array.from(name);
        if (characters.length <= longest) return name;
        const half = Math.floor((longest - 1) / 2);
        return characters.slice(0, half).join("") + "\u2026" + characters.slice(-half).join("");
    };

    /** Creates the text of a name: isolated from the direction of its neighbours, cut, the full name in a title. */
    fedicu.name = (name, longest) => {
        const shown = fedicu.cut(name, longest);
        return fedicu.element("bdi", { title: shown === name ? null : name }, shown);
    };

    /** Formats a whole number whole, another one with four digits; a dash where there is none. */
    fedicu.number = value => {
        if (value === null || value === undefined || Number.isNaN(value)) return "\u2013";
        if (Number.isInteger(value) && Math.abs(value) < 1e12) return String(value);
        if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(3);
        return String(Number(value.toPrecision(4)));
    };
    fedicu.percent = value => (value === null || Number.isNaN(value) ? "\u2013" : (100 * value).toFixed(value < 0.0995 ? 2 : 1) + " %");
    fedicu.count = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
    fedicu.bytes = value => {
        const units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let unit = 0;
        while (value >= 1024 && unit < units.length - 1) {
            value /= 1024;
            unit++;
        }
        return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
    };

    /** Adds a section with a heading and, where given, a sentence below it. */
    fedicu.section = (title, text, parent = document.querySelector("main")) => {
        const id = "section-" + title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
        const section = fedicu.element("section", { "aria-labelledby": id }, fedicu.element("h2", { id }, title));
        if (text) section.append(fedicu.element("p", { class: "note" }, text));
        parent.append(section);
        return section;
    };

    /** Creates a labelled selection. Options are {value, text}; calls back with the value. */
    fedicu.select = (label, options, selected, changed) => {
        const select = fedicu.element("select");
        options.forEach(option =>
            select.append(
                fedicu.element("option", { value: option.value, selected: String(option.value) === String(selected) }, option.text),
            ),
        );
        select.addEventListener("change", () => changed(select.value));
        return fedicu.element("label", {}, label, select);
    };

    /**
     * Creates a sortable table. A column is {name, title, kind, format}: kind "number" sorts by value and aligns right,
     * "name" is cut, others are text; format makes text, or an element, of a value. A row is an array of values. The
     * first column heads its row.
     */
    fedicu.table = (caption, columns, rows, captionHidden = false) => {
        const head = fedicu.element("tr"),
            body = fedicu.element("tbody");
        const table = fedicu.element(
            "table",
            {},
            fedicu.element("caption", { class: captionHidden ? "hidden" : null }, caption),
            fedicu.element("thead", {}, head),
            body,
        );
        const lines = rows.map((row, index) => ({ row, index, line: null }));
        columns.forEach((column, at) => {
            const button = fedicu.element("button", { type: "button", title: column.title }, column.name);
            const header = fedicu.element("th", { scope: "col", class: column.kind === "number" ? "number" : null }, button);
            button.addEventListener("click", () => {
                // numbers begin with the largest, texts with the first
                const before = header.getAttribute("aria-sort") ?? (column.kind === "number" ? "ascending" : "descending");
                head.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
                header.setAttribute("aria-sort", before === "ascending" ? "descending" : "ascending");
                sort(lines, at, column.kind === "number", before === "ascending" ? -1 : 1);
                body.append(...lines.map(item => item.line));
            });
            head.append(header);
        });
        lines.forEach(item => {
            item.line = fedicu.element("tr", {}, ...columns.map((column, at) => cell(column, item.row[at], at)));
            body.append(item.line);
        });
        return fedicu.element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
    };

    const cell = (column, value, at) => {
        const content = column.format
            ? column.format(value)
            : column.kind === "number"
              ? fedicu.number(value)
              : column.kind === "name"
                ? fedicu.name(value)
                : (value ?? "");
        return fedicu.element(
            at === 0 ? "th" : "td",
            { scope: at === 0 ? "row" : null, class: column.kind === "number" && at > 0 ? "number" : null },
            content,
        );
    };

    // missing values stay at the end; equal ones keep the order in which they were given
    const sort = (lines, at, isNumber, sign) =>
        lines.sort((a, b) => {
            const [x, y] = [a.row[at], b.row[at]];
            const [noX, noY] = [x === null || x === undefined || Number.isNaN(x), y === null || y === undefined || Number.isNaN(y)];
            if (noX || noY) return noX - noY || a.index - b.index;
            return (isNumber ? x - y : String(x).localeCompare(String(y), "en", { numeric: true })) * sign || a.index - b.index;
        });

    /** Creates a button that shows and hides what make() creates when it is first shown. */
    fedicu.disclosure = (show, hide, make) => {
        const button = fedicu.element("button", { type: "button", "aria-expanded": "false" }, show);
        const place = fedicu.element("div", { hidden: true });
        const toggle = () => {
            place.hidden = !place.hidden;
            button.setAttribute("aria-expanded", String(!place.hidden));
            button.textContent = place.hidden ? show : hide;
            if (!place.hidden && !place.firstChild) place.append(make());
        };
        button.addEventListener("click", toggle);
        return {
            button,
            place,
            renew: () => {
                place.replaceChildren();
                if (!place.hidden) place.append(make());
            },
        };
    };

    /** The theme: that of the system until the switch is used. Listeners are called after a change. */
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const listeners = [];
    let chosen = null;
    fedicu.onTheme = listener => listeners.push(listener);
    const apply = () => {
        const theme = chosen ?? (dark.matches ? "dark" : "light");
        document.documentElement.dataset.theme = theme;
        toggle.setAttribute("aria-pressed", String(theme === "dark"));
        listeners.forEach(listener => listener());
    };
    const toggle = fedicu.element("button", { type: "button", id: "theme" }, "Dark theme");
    toggle.addEventListener("click", () => {
        chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
        apply();
    });
    dark.addEventListener("change", apply);
    // paper is light
    let before = null;
    addEventListener("beforeprint", () => {
        before = chosen;
        chosen = "light";
        apply();
    });
    addEventListener("afterprint", () => {
        chosen = before;
        apply();
    });
    document.querySelector("header").append(toggle);
    apply();
})();
