"use strict";
/* The page of a report: the figures of the head, the rounds, and the sections of the selected round. */
(() => {
    const { rounds, details } = fedicu.data("report");
    const main = document.querySelector("main");
    const figures = pairs =>
        fedicu.element(
            "dl",
            { class: "figures" },
            ...pairs.map(([name, value]) => fedicu.element("div", {}, fedicu.element("dt", {}, name), fedicu.element("dd", {}, value))),
        );
    const last = rounds[rounds.length - 1];
    const inAndAll = round => (round.included === round.clients ? `${round.clients}` : `${round.included} of ${round.clients}`);

    main.append(
        figures([
            // a label with # is a place in the list, not a round's number
            ...(rounds.length > 1 ? [["Rounds", String(rounds.length)]] : last.label.startsWith("#") ? [] : [["Round", last.label]]),
            ["Strategy", fedicu.name(last.strategy)],
            ["Clients" + (rounds.length > 1 ? ", last round" : ""), inAndAll(last)],
            ["Tensors", String(last.tensors)],
            ...(last.meanUpdateNorm === null
                ? []
                : [
                      ["Mean update norm", fedicu.number(last.meanUpdateNorm)],
                      ["Norm of the mean", fedicu.number(last.normOfMean)],
                  ]),
            ["Backend", fedicu.name(last.backend)],
        ]),
    );
    if (rounds.length > 1) fedicu.rounds(rounds);

    const place = fedicu.element("div");
    const show = detail => {
        fedicu.removeCharts(place);
        place.replaceChildren();
        const round = rounds[detail.round];
        if (round.private)
            fedicu.section("A private round", `Round ${round.label} is private: this page shows nothing of a single client.`, place);
        if (detail.notes.length > 0)
            fedicu
                .section("Notes", null, place)
                .append(fedicu.element("ul", {}, ...detail.notes.map(note => fedicu.element("li", {}, note))));
        if (round.private) return;
        for (const part of [
            fedicu.leftOut,
            fedicu.clients,
            fedicu.clientsByTensors,
            fedicu.similarity,
            fedicu.pulls,
            fedicu.pairs,
            fedicu.stages,
        ])
            part(place, detail);
    };
    if (rounds.length > 1) {
        const select = fedicu.select(
            "Round",
            details.map((detail, at) => ({ value: at, text: rounds[detail.round].label })),
            details.length - 1,
            value => show(details[Number(value)]),
        );
        const some =
            details.length < rounds.length
                ? ` Details are of the last ${details.length} of ${rounds.length} rounds, to keep the page small.`
                : "";
        main.append(
            fedicu.element(
                "div",
                { class: "controls selected-round", role: "group", "aria-label": "Selected round" },
                select,
                fedicu.element("span", { class: "note" }, "The sections below show this round." + some),
            ),
        );
    }
    main.append(place);
    show(details[details.length - 1]);
})();
