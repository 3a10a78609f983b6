// After vite: the contract beside the page, and .br and .gz beside every text file, which the binary serves to those who take them.
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url).pathname;
for (const name of ["openapi.json", "openapi.yaml"]) copyFileSync(new URL(`../../api/dist/${name}`, import.meta.url), join(dist, name));
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(html|js|css|json|yaml|svg|txt)$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const bytes = readFileSync(path);
  if (bytes.length < 1000) continue;
  if (bytes.includes("__CSP_NONCE__") && entry.name.endsWith(".html")) continue;  // a fresh nonce an answer: never precompressed
  writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }));
  writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
}
