/* Buttons that copy what stands beside them: <button class="qa-copy" data-copy="...">. One listener for the whole page,
   so that parts of it may be replaced. */
(() => {
    "use strict";
    const copy = async (text) => {
        // The clipboard wants HTTPS or localhost; elsewhere the old way does it.
        if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
        const field = document.createElement("textarea");
        field.value = text;
        field.className = "qa-offscreen";
        document.body.append(field);
        field.select();
        const done = document.execCommand("copy");
        field.remove();
        if (!done) throw new Error("refused");
    };

    document.addEventListener("click", async (event) => {
        const button = event.target.closest("button.qa-copy");
        if (!button) return;
        const label = button.textContent;
        try {
            await copy(button.dataset.copy);
            button.textContent = "Copied";
        } catch {
            button.textContent = "Not allowed";
        }
        button.focus();
        setTimeout(() => { button.textContent = label; }, 2000);
    });
})();
