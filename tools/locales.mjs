#!/usr/bin/env node
// The dictionaries of the web client: both languages have the same keys, and what the contract can answer with stands in them. The server
// speaks English, so a code that nobody put into Japanese reaches an operator in a language that is not theirs.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";

const root = fileURLToPath(new URL("..", import.meta.url));
const { parse } = createRequire(join(root, "tests/"))("yaml");
const json = (name) => JSON.parse(readFileSync(join(root, "web/src/locales", name), "utf8"));
const ja = json("ja.json"), en = json("en.json"), operationNames = json("operations.ja.json");
const wrong = [];

// The server's own sentences about fields are English.
const onlyInJapanese = ["fieldProblem"];
const keys = (node, at = "") => Object.entries(node).flatMap(([name, value]) => (typeof value === "object" ? keys(value, `${at}${name}.`) : [`${at}${name}`]));
const shared = (dictionary) => new Set(keys(Object.fromEntries(Object.entries(dictionary).filter(([group]) => !onlyInJapanese.includes(group)))));
// "one" and "other" of English are one form in Japanese.
const singular = (key) => key.replace(/_(one|other)$/, "");
const inJa = new Set([...shared(ja)].map(singular)), inEn = new Set([...shared(en)].map(singular));
for (const key of inJa) if (!inEn.has(key)) wrong.push(`en.json lacks ${key}`);
for (const key of inEn) if (!inJa.has(key)) wrong.push(`ja.json lacks ${key}`);

const slices = Object.fromEntries(readdirSync(join(root, "api")).filter((name) => name.endsWith(".yaml") && name !== "redocly.yaml")
  .map((name) => [name, parse(readFileSync(join(root, "api", name), "utf8"))]));
const operations = Object.values(slices).flatMap((slice) => Object.values(slice.paths ?? {})).flatMap((item) => Object.values(item)).filter((one) => one.operationId);
if (operations.length < 100) wrong.push(`only ${operations.length} operations were found`);
const states = new Set(JSON.stringify(slices).match(/"enum":\[[^\]]*\]/g).flatMap((list) => list.match(/[A-Z][A-Z_]+/g) ?? []));
const words = (text, form) => (text ?? "").match(form)?.filter((word) => !states.has(word)) ?? [];
const answers = [...operations.flatMap((one) => Object.entries(one.responses)), ...Object.entries(slices["common.yaml"].components.responses).map(([, one]) => ["4", one])];
const codes = new Set([
  ...answers.filter(([status]) => /^[45]/.test(status)).flatMap(([, answer]) => words(answer.description, /\b[A-Z]{3,}(_[A-Z]+)*\b/g)),
  ...operations.flatMap((one) => words(one.description, /\b[A-Z]+(_[A-Z]+)+\b/g)),
]);
for (const abbreviation of ["CSV", "UTF", "JSON", "PATCH", "POST", "GET"]) codes.delete(abbreviation);
for (const code of codes) {
  if (!(code in ja.problem) && !(code in ja.fieldProblem)) wrong.push(`ja.json has no sentence for ${code}`);
  if (!(code in en.problem) && !(code in ja.fieldProblem)) wrong.push(`en.json has no sentence for ${code}`);
}
// Nobody is granted what is open to everybody.
for (const { operationId, security } of operations) if (security?.length !== 0 && !(operationId in operationNames)) wrong.push(`operations.ja.json has no name for ${operationId}`);

for (const one of wrong) console.error(one);
process.exit(wrong.length ? 1 : 0);
