// Keeps the page and the runtime for use without a network; the model keeps itself, by digest (audiocm.js).
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin || url.pathname.endsWith(".onnx")) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open("audiocm-page");
      try {
        const response = await fetch(event.request);
        if (response.ok) await cache.put(event.request, response.clone());
        return response;
      } catch (error) {
        const stored = await cache.match(event.request);
        if (stored) return stored;
        throw error;
      }
    })(),
  );
});
