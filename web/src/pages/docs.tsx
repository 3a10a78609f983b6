import { Anchor, Badge, Code, Loader, TextInput, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { label } from "../i18n";
import { ProblemAlert } from "../parts/problem";

type Json = Record<string, unknown>;
interface Media { schema?: Json; example?: unknown }
interface Parameter { name: string; in: string; required?: boolean; description?: string; schema?: Json }
interface Operation {
  operationId?: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content?: Record<string, Media> };
  responses?: Record<string, { description?: string; content?: Record<string, Media> }>;
  "x-roles"?: Record<string, string>;
}
interface Contract {
  info: { title: string; version: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, Operation> & { parameters?: Parameter[] }>;
}

const methods = ["get", "post", "put", "patch", "delete"];
const colors: Record<string, string> = { get: "blue", post: "green", put: "orange", patch: "yellow", delete: "red" };

function follow<T>(contract: Contract, value: T): T {
  let at: unknown = value;
  for (let depth = 0; depth < 8 && at && typeof at === "object" && "$ref" in at; ++depth)
    at = String(at.$ref).replace(/^#\//, "").split("/").reduce<unknown>((o, k) => (o as Json | undefined)?.[k.replace(/~1/g, "/").replace(/~0/g, "~")], contract);
  return at as T;
}
const nameOf = (schema: unknown) => (schema && typeof schema === "object" && "$ref" in schema ? String(schema.$ref).split("/").pop() : undefined);

/** One line a field, its own fields below it; a name that is inside itself ends there. */
function Fields({ contract, schema, seen = [] }: { contract: Contract; schema: unknown; seen?: string[] }) {
  const name = nameOf(schema);
  if (name && seen.includes(name)) return <span className="faint"> {name} …</span>;
  const s = follow(contract, schema) as Json | undefined;
  if (!s) return null;
  const inner = name ? [...seen, name] : seen;
  if (s.items) return <><span className="faint"> [ ]</span><Fields contract={contract} schema={s.items} seen={inner} /></>;
  const required = (s.required as string[] | undefined) ?? [];
  const properties = s.properties as Record<string, unknown> | undefined;
  if (!properties) {
    const all = (s.anyOf ?? s.oneOf ?? s.allOf) as unknown[] | undefined;
    if (all) return <>{all.map((x, i) => <Fields key={i} contract={contract} schema={x} seen={inner} />)}</>;
    const choices = s.enum as unknown[] | undefined;
    return (
      <span className="faint">
        {" "}
        {[s.type].flat().join(" | ")}
        {s.format ? ` (${String(s.format)})` : ""}
        {choices ? `: ${choices.map(String).join(", ")}` : ""}
        {s.maxLength ? ` ≤ ${String(s.maxLength)}` : ""}
        {s.description ? ` — ${String(s.description)}` : ""}
      </span>
    );
  }
  return (
    <ul style={{ margin: "2px 0 2px 6px", paddingLeft: 14, fontSize: 12.5 }}>
      {Object.entries(properties).map(([key, value]) => (
        <li key={key}>
          <Code>{key}</Code>
          {required.includes(key) ? <b style={{ color: "#e03131" }}> *</b> : null}
          <Fields contract={contract} schema={value} seen={inner} />
        </li>
      ))}
    </ul>
  );
}

function OperationCard({ contract, path, method, operation, common }: { contract: Contract; path: string; method: string; operation: Operation; common: Parameter[] }) {
  useTranslation(); // again when the language changes
  const [opened, setOpened] = useState(false);
  return (
    <details id={operation.operationId} className="sheet" style={{ marginBottom: 6 }} onToggle={(e) => setOpened(e.currentTarget.open)}>
      <summary style={{ padding: "7px 12px", cursor: "pointer" }}>
        <Badge color={colors[method]} w={68} mr={8}>{method.toUpperCase()}</Badge>
        <Code>{path}</Code> <span style={{ fontSize: 13, marginLeft: 8 }}>{operation.summary}</span>
      </summary>
      {opened && <Details contract={contract} operation={operation} parameters={[...common, ...(operation.parameters ?? [])].map((p) => follow(contract, p))} />}
    </details>
  );
}

function Details({ contract, operation, parameters }: { contract: Contract; operation: Operation; parameters: Parameter[] }) {
  const body = Object.entries(operation.requestBody?.content ?? {})[0];
  const roles = Object.entries(operation["x-roles"] ?? {}).map(([r, s]) => `${r}: ${s}`).join(", ");
  return (
    <div className="pad" style={{ borderTop: "1px solid var(--line)", fontSize: 13 }}>
      <div className="faint">{operation.operationId}{roles ? ` · ${roles}` : ""}</div>
      {operation.description && <p style={{ whiteSpace: "pre-wrap", margin: "6px 0" }}>{operation.description}</p>}
      {parameters.length > 0 && (
        <>
          <Title order={4} mt={8}>{label("docs", "parameters")}</Title>
          <ul style={{ margin: "2px 0", paddingLeft: 20 }}>
            {parameters.map((p) => (
              <li key={p.in + p.name}>
                <Code>{p.name}</Code>
                {p.required ? <b style={{ color: "#e03131" }}> *</b> : null} <span className="faint">{p.in}{p.description ? ` — ${p.description}` : ""}</span>
                <Fields contract={contract} schema={p.schema} />
              </li>
            ))}
          </ul>
        </>
      )}
      {body && (
        <>
          <Title order={4} mt={8}>{label("docs", "body")} <span className="faint">{body[0]}</span></Title>
          <Fields contract={contract} schema={body[1].schema} />
          {body[1].example !== undefined && <pre className="json">{JSON.stringify(body[1].example, null, 2)}</pre>}
        </>
      )}
      <Title order={4} mt={8}>{label("docs", "responses")}</Title>
      {Object.entries(operation.responses ?? {}).map(([status, response]) => {
        const r = follow(contract, response);
        const content = Object.entries(r?.content ?? {})[0];
        const good = status.startsWith("2");
        return (
          <div key={status} style={{ margin: "3px 0" }}>
            <Badge color={good ? "green" : "gray"} mr={6}>{status}</Badge>
            {r?.description}
            {good && content && <Fields contract={contract} schema={content[1].schema} />}
            {good && content?.[1].example !== undefined && <pre className="json">{JSON.stringify(content[1].example, null, 2)}</pre>}
          </div>
        );
      })}
    </div>
  );
}

/** The contract, readable, without anything from elsewhere. */
export function DocsPage() {
  useTranslation(); // again when the language changes
  const [wanted, setWanted] = useState("");
  const { data: contract, error } = useQuery({
    queryKey: ["contract"],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () => {
      const answer = await fetch("/openapi.json");
      if (!answer.ok) throw new Error(`/openapi.json: ${answer.status}`);
      return (await answer.json()) as Contract;
    },
  });
  const all = Object.entries(contract?.paths ?? {}).flatMap(([path, item]) =>
    methods.filter((m) => item[m]).map((method) => ({ path, method, operation: item[method] as Operation, common: item.parameters ?? [] })),
  );
  const word = wanted.toLowerCase();
  const shown = all.filter((o) => !word || `${o.method} ${o.path} ${o.operation.operationId ?? ""} ${o.operation.summary ?? ""}`.toLowerCase().includes(word));
  return (
    <>
      <header className="header">
        <Link to="/" className="mark"><span aria-hidden>縁</span>Enishi API</Link>
      </header>
      <main className="page">
        <div style={{ maxWidth: 1040, margin: "0 auto" }}>
          {error && <ProblemAlert error={error} />}
          {!contract && !error && <Loader size="sm" />}
          {contract && (
            <>
              <p style={{ marginTop: 0 }}>
                <Anchor href="/openapi.json">openapi.json</Anchor> · <Anchor href="/openapi.yaml">openapi.yaml</Anchor> · {contract.info.version}
              </p>
              <div style={{ whiteSpace: "pre-wrap", fontSize: 13.5, marginBottom: 12 }}>{contract.info.description?.replaceAll("**", "").replaceAll("`", "")}</div>
              <TextInput placeholder={label("docs", "find")} value={wanted} onChange={(e) => setWanted(e.currentTarget.value)} mb="sm" aria-label={label("docs", "find")} />
              {(contract.tags ?? []).map((tag) => {
                const mine = shown.filter((o) => o.operation.tags?.[0] === tag.name);
                return mine.length === 0 ? null : (
                  <section key={tag.name}>
                    <Title order={2} mt="md" mb={6}>
                      {tag.name} <span className="faint" style={{ fontSize: 13, fontWeight: 400 }}>{tag.description}</span>
                    </Title>
                    {mine.map((o) => <OperationCard key={o.method + o.path} contract={contract} {...o} />)}
                  </section>
                );
              })}
            </>
          )}
        </div>
      </main>
    </>
  );
}
