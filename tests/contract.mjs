// The contract, as the tests hold it against real answers: an undeclared status, a body that does not fit its schema or an operation that
// nobody declared is an error in the test that met it.
import { readFileSync } from "node:fs";
import { join, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv2020 from "ajv/dist/2020.js";
import formats from "ajv-formats";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const contract = JSON.parse(readFileSync(join(root, "api/dist/openapi.json"), "utf8"));

const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true });
formats(ajv);
ajv.addSchema({ $id: "contract", ...contract });

/** [{method, path, pattern, operation}], literal paths before {parameters}. */
export const operations = Object.entries(contract.paths).flatMap(([path, item]) =>
  Object.entries(item).filter(([method]) => ["get", "post", "put", "patch", "delete"].includes(method)).map(([method, operation]) => ({
    method: method.toUpperCase(), path, operation,
    pattern: new RegExp("^" + path.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{[^}]+\}/g, "[^/]+") + "$"),
  }))).sort((a, b) => (a.path.match(/\{/g)?.length ?? 0) - (b.path.match(/\{/g)?.length ?? 0));

export const seen = new Map(); // operationId → set of statuses that were seen and fit

const resolve = (node) => {
  while (node?.$ref) node = node.$ref.replace(/^#\//, "").split("/").reduce((at, key) => at[key.replace(/~1/g, "/").replace(/~0/g, "~")], contract);
  return node;
};
const said = (operation) => JSON.stringify([operation.description, Object.values(operation.responses).map((response) => resolve(response).description)]);

/** Whether a problem's code stands in its operation's text, in a response that it shares, or in the text of an operation that it points to. */
export function names(operation, code) {
  const text = said(operation);
  const elsewhere = operations.filter((o) => o.operation !== operation && text.includes(o.operation.operationId)).map((o) => said(o.operation));
  return [text, ...elsewhere].some((one) => new RegExp(`\\b${code}\\b`).test(one));
}

const validators = new Map();

function validator(schema) {
  if (!validators.has(schema)) {
    // References inside point into the contract.
    const text = JSON.stringify(schema).replaceAll('"#/', '"contract#/');
    validators.set(schema, ajv.compile(JSON.parse(text)));
  }
  return validators.get(schema);
}

/** What is wrong with a value under a schema of the contract; nothing, if it fits. */
export function fits(schema, value) {
  const validate = validator(schema);
  return validate(value) ? undefined : ajv.errorsText(validate.errors, { separator: "\n  " });
}

export function check(method, path, answer) {
  const found = operations.find((o) => o.method === method && o.pattern.test(path));
  if (!found) {
    if ([404, 405].includes(answer.status)) return;
    throw new Error(`${method} ${path} answered ${answer.status}, and the contract knows no such operation`);
  }
  const id = found.operation.operationId;
  const response = resolve(found.operation.responses[answer.status] ?? found.operation.responses[`${String(answer.status)[0]}XX`]);
  if (!response) throw new Error(`${id} answered ${answer.status}, which the contract does not declare: ${answer.text.slice(0, 300)}`);
  const type = (answer.headers.get("content-type") ?? "").split(";")[0].trim();
  const content = response.content;
  if (content) {
    const media = content[type];
    if (!media) throw new Error(`${id} ${answer.status} came as «${type}», declared is ${Object.keys(content)}`);
    if (/json/.test(type) && media.schema) {
      const wrong = fits(media.schema, answer.body);
      if (wrong) throw new Error(`${id} ${answer.status} does not fit the contract: ${wrong}\n  ${answer.text.slice(0, 600)}`);
    }
  } else if (answer.text) throw new Error(`${id} ${answer.status} has a body, and the contract declares none`);
  if (!seen.has(id)) seen.set(id, new Set());
  seen.get(id).add(answer.status);
}
