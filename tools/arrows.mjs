#!/usr/bin/env node
// The arrow test: reads the include graph of src/ and fails on any arrow that the house does not have.
// Also: no Beast header outside http/, no libpq header outside pg/, slices do not include each other's insides.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const src = process.argv[2] ?? join(fileURLToPath(new URL("..", import.meta.url)), "src");

// module → modules it may include (itself always)
const allowed = {
  base: [],
  io: ["base"],
  pgwire: ["base"],
  pg: ["base", "io", "pgwire"],
  http: ["base", "io"],
  auth: ["base", "io", "pg", "http"],
  jobs: ["base", "io", "pg", "http"],
  crm: ["base", "io", "pg", "http", "auth", "jobs"],
  takeover: ["base", "io", "pg", "pgwire", "jobs", "http", "auth"],
  warehouse: ["base", "io", "pg", "pgwire", "jobs", "http", "auth"],
  cluster: ["base", "io", "pg", "http"],
  tunnel: ["base", "io", "pgwire", "auth"],
  cli: ["*"],
};
// What a slice shows to its neighbours: headers named here. Everything else is its inside.
const shared = new Set(["crm/japanese", "crm/csv", "crm/outcomes"]);
const published = /^crm\/([a-z_]+)\/(\1|[a-z_]*api)\.hpp$/;

const wrong = [];
let arrows = 0;
function walk(dir) {
  for (const name of readdirSync(dir).sort()) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) walk(path);
    else if (/\.(cpp|hpp)$/.test(name)) check(path);
  }
}
function check(path) {
  const from = relative(src, path);
  const [module, slice] = from.split("/");
  const test = /_test\.cpp$|\/testing\.(cpp|hpp)$/.test(from);
  if (!(module in allowed)) return wrong.push(`${from}: ${module}/ is no room of the house`);
  readFileSync(path, "utf8").split("\n").forEach((line, i) => {
    const at = `${from}:${i + 1}`;
    const m = line.match(/^\s*#\s*include\s*([<"])([^>"]+)[>"]/);
    if (!m) return;
    const to = m[2];
    if (/^boost\/beast/.test(to) && module !== "http" && !["io/pch.hpp", "io/boost_impl.cpp"].includes(from)) wrong.push(`${at}: Beast outside http/ (${to})`);
    if (/^(libpq|postgresql|pg_config)/.test(to) && module !== "pg") wrong.push(`${at}: libpq outside pg/ (${to})`);
    if (m[1] !== '"') return;
    arrows++;
    const target = to.split("/")[0];
    if (target === "embedded" && to.split("/").length === 2) return; // made by enishi_embed_files, which links it by its CMake target
    if (!(target in allowed) || !to.includes("/")) return wrong.push(`${at}: "${to}" is not written from src/`);
    // Pure functions on Japanese text belong to nobody's slice.
    if (module === "takeover" && to.startsWith("crm/japanese/")) return;
    if (target !== module && !allowed[module].includes(target) && !allowed[module].includes("*") && !test) wrong.push(`${at}: ${module} → ${target} is no arrow of the house (${to})`);
    if (module === "crm" && target === "crm" && !test) {
      const other = to.split("/")[1];
      if (to.split("/").length > 2 && other !== slice && !shared.has(`crm/${other}`) && !published.test(to)) wrong.push(`${at}: a slice includes another's inside (${to})`);
    }
  });
}
walk(src);
if (arrows === 0) wrong.push(`no include was read below ${src}`);
for (const line of wrong) console.error(line);
console.log(`${arrows} includes read, ${wrong.length} wrong`);
process.exit(wrong.length ? 1 : 0);
