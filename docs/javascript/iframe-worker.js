// Search where the site is opened from a file: browsers start no worker there, so its script runs in a frame of the page.
"use strict";
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const scope = this.scope = frame.contentWindow;
      const load = (source) => new Promise((done, failed) => {
        const script = scope.document.createElement("script");
        Object.assign(script, { src: new URL(source, document.baseURI), onload: done, onerror: failed });
        scope.document.body.append(script);
      });
      scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      scope.importScripts = (...sources) => Promise.all(sources.map(load));
      this.ready = load(url);
    }

    postMessage(data) { this.ready.then(() => this.scope.dispatchEvent(new MessageEvent("message", { data }))); }

    terminate() { this.scope.frameElement.remove(); }
  };
}
