"use strict";
/* Numbers of rows and columns: their colours, their scales, and shorter names for their axes. */
(() => {
    const steps = 256; // colours of a scale, chosen: more cannot be told apart

    const parse = color => [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
    const mix = (stops, part) => {
        const at = Math.min(Math.max(part, 0), 1) * (stops.length - 1),
            left = Math.min(Math.floor(at), stops.length - 2);
        return parse(stops[left]).map((channel, i) => Math.round(channel + (parse(stops[left + 1])[i] - channel) * (at - left)));
    };

    /** Returns steps colours along the stops, each as three bytes. */
    fedicu.palette = stops => Array.from({ length: steps }, (_, step) => mix(stops, step / (steps - 1)));

    /** Returns the smallest and the largest number; [NaN, NaN] if there is none. */
    fedicu.range = (values, accepts = () => true) => {
        let low = Infinity,
            high = -Infinity;
        for (const value of values)
            if (!Number.isNaN(value) && accepts(value)) {
                low = Math.min(low, value);
                high = Math.max(high, value);
            }
        return low <= high ? [low, high] : [NaN, NaN];
    };

    /** Scales: from a number to its place between 0 and 1, with the numbers at both ends and in the middle. */
    fedicu.diverging = (limit, format = fedicu.number) => ({
        diverging: true,
        part: value => (value / limit + 1) / 2,
        labels: [format(-limit), format(0), format(limit)],
    });
    fedicu.sequential = (low, high, format = fedicu.number) => ({
        part: value => (high > low ? (value - low) / (high - low) : 0.5),
        labels: [format(low), format((low + high) / 2), format(high)],
    });
    fedicu.logarithmic = (low, high, format = fedicu.number) => ({
        part: value => (high > low ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : 0.5),
        labels: [format(low), format(Math.sqrt(low * high)), format(high)],
    });

    /** Returns each column's median; NaN for a column without numbers. */
    fedicu.columnMedians = (values, rows, columns) =>
        Array.from({ length: columns }, (_, column) => {
            const numbers = [];
            for (let row = 0; row < rows; row++)
                if (!Number.isNaN(values[row * columns + column])) numbers.push(values[row * columns + column]);
            return fedicu.quantile(
                numbers.sort((a, b) => a - b),
                0.5,
            );
        });

    /** Returns a quantile of sorted numbers. */
    fedicu.quantile = (sorted, part) => {
        if (sorted.length === 0) return NaN;
        const at = part * (sorted.length - 1),
            left = Math.floor(at);
        return sorted[left] + (sorted[Math.min(left + 1, sorted.length - 1)] - sorted[left]) * (at - left);
    };

    /** Takes the parts that all names begin or end with out of names such as base.layers.0.q_proj.weight. */
    fedicu.shorten = names => {
        const parts = names.map(name => name.split("."));
        if (parts.length < 2) return names;
        const least = Math.min(...parts.map(list => list.length)) - 1;
        let head = 0,
            tail = 0;
        while (head < least && parts.every(list => list[head] === parts[0][head])) head++;
        while (head + tail < least && parts.every(list => list[list.length - 1 - tail] === parts[0][parts[0].length - 1 - tail])) tail++;
        // a number alone says little: layers.0
        if (head > 0 && parts.every(list => list.slice(head, list.length - tail).every(part => /^\d*$/.test(part)))) head--;
        return parts.map(list => list.slice(head, list.length - tail).join("."));
    };
})();
