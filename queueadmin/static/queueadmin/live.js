/* Keeps a page of the present up to date: fetches the page again and puts its body in the place of the old one.
   No framework and no second template: what is shown after a minute is what a reload would show. */
(() => {
    "use strict";
    const main = document.querySelector("[data-live-seconds]");
    if (!main) return;
    const note = main.querySelector("[data-live-note]");
    const seconds = Number(main.dataset.liveSeconds);
    let failures = 0;

    const isBusy = () => {
        const body = main.querySelector("[data-live-body]");
        const focused = document.activeElement;
        const typing = focused && body.contains(focused) && focused.matches("input, select, textarea, button, a");
        return document.hidden || typing || String(document.getSelection()) !== "";
    };

    const refresh = async () => {
        const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store", redirect: "error" });
        if (!answer.ok) throw new Error(String(answer.status));
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const body = fresh.querySelector("[data-live-body]");
        if (!body) throw new Error("no body");
        const old = main.querySelector("[data-live-body]");
        for (const opened of old.querySelectorAll("details[data-live-keep][open]")) {
            const same = body.querySelector(`details[data-live-keep="${opened.dataset.liveKeep}"]`);
            if (same) same.open = true;
        }
        old.replaceWith(document.adoptNode(body));
    };

    const tick = async () => {
        if (!isBusy()) {
            try {
                await refresh();
                failures = 0;
                note.textContent = `Updated at ${new Date().toLocaleTimeString()}.`;
            } catch {
                failures += 1;
                note.textContent = `Not updated since ${failures * seconds} seconds: the server does not answer. Reload to log in again.`;
            }
        }
        setTimeout(tick, seconds * 1000 * Math.min(1 + failures, 6));
    };
    setTimeout(tick, seconds * 1000);
})();
