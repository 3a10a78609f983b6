import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// No inline scripts or styles: the server's policy allows only its own files, and styles with the nonce of the answer.
export default defineConfig({
  plugins: [react()],
  build: { target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1500 },
  worker: { format: "es" },
  server: { proxy: { "/v1": "http://127.0.0.1:8080" } },
});
