// A source that is reached over TLS and takes nothing else: its certificate is self-made, so Enishi has to be told whom to believe.
import test from "node:test";
import assert from "node:assert/strict";
import net from "node:net";
import { execFileSync } from "node:child_process";
import { chownSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Enishi, eventually, scratch } from "../enishi.mjs";
import { Company, differences, runOwnerSql, takeover } from "./sources.mjs";

const folder = "samples/legacy/kokyaku/customer";

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A certificate that nobody but itself vouches for. */
function selfMade(name) {
  const files = scratch(name), key = join(files, "server.key"), certificate = join(files, "server.crt");
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost"], { stdio: "ignore" });
  return { key, certificate };
}

test("a source over TLS, with a certificate of its own making", async (t) => {
  const port = await freePort();
  const company = await Company.start({ customers: 60, port });
  const server = await Enishi.start();
  t.after(async () => { await server.stop(); await company.stop(); });

  const own = selfMade("tls"), other = selfMade("tls-other"), pgdata = join(company.data, "pgdata"), { uid, gid } = statSync(pgdata);
  for (const [name, from] of [["server.key", own.key], ["server.crt", own.certificate]]) {
    writeFileSync(join(pgdata, name), readFileSync(from), { mode: 0o600 });
    chownSync(join(pgdata, name), uid, gid);
  }
  writeFileSync(join(pgdata, "pg_hba.conf"), readFileSync(join(pgdata, "pg_hba.conf"), "utf8").replace(/^host .*$/gm, "hostnossl all all all reject\nhostssl all all 127.0.0.1/32 scram-sha-256"));
  const postgres = (text) => company.sql("postgres", text, "postgres");
  postgres("alter role enishi password 'a secret'");
  postgres("alter system set ssl = on");
  postgres("select pg_reload_conf()");
  await eventually("the source speaks TLS", () => postgres("show ssl") === "on");

  const passfile = join(scratch("tls-pass"), "pgpass");
  writeFileSync(passfile, `localhost:${port}:*:enishi:a secret\n`, { mode: 0o600 });
  chownSync(passfile, uid, gid); // whom the server runs as where it was started by root
  const source = (rest) => `host=localhost port=${port} dbname=kokyaku user=enishi passfile=${passfile} ${rest}`;
  const plan = (rest) => takeover(server, ["plan", "--mapping", folder], { source: source(rest) });

  const plain = plan("sslmode=disable");
  assert.equal(plain.status, 1);
  assert.match(plain.out + plain.err, /no encryption|rejects connection/);
  const stranger = plan(`sslmode=verify-ca sslrootcert=${other.certificate}`);
  assert.equal(stranger.status, 1);
  assert.match(stranger.out + stranger.err, /certificate verify failed/);

  for (const mode of ["verify-ca", "verify-full"]) {
    const planned = plan(`sslmode=${mode} sslrootcert=${own.certificate}`);
    assert.match(planned.out, /root rows; the copy takes/, planned.err);
    if (mode === "verify-ca") runOwnerSql(company, "kokyaku", planned.out);
  }
  const started = takeover(server, ["start", "--mapping", folder], { source: source(`sslmode=verify-ca sslrootcert=${own.certificate}`) });
  assert.equal(started.status, 0, started.err);
  const until = (what, check) => eventually(what, check, 60_000);
  await until("the copy ends", () => server.sql("select phase from takeover_domain") === "STREAMING");
  company.sql("kokyaku", "update m_kokyaku set biko = 'over TLS' where kokyaku_no = (select min(kokyaku_no) from m_kokyaku)");
  await until("the change arrives", () => server.sql("select count(*) from customer where notes = 'over TLS'") === "1");
  server.sql("update takeover_reject set state = 'ACCEPTED', reason = 'a test' where state = 'OPEN'");
  for (const verb of ["diff", "switch"]) await until(verb, () => {
    const done = takeover(server, [verb, "--domain", "customer"]);
    if (done.status !== 0) throw new Error(done.out + done.err);
    return true;
  });
  server.sql("update customer set notes = 'and back' where notes = 'over TLS'", "enishi_app");
  await until("what is written here arrives there", () => company.sql("kokyaku", "select count(*) from m_kokyaku where biko = 'and back'") === "1");
  const connections = postgres("select count(*) || ' ' || count(*) filter (where not s.ssl) || ' ' || count(*) filter (where a.backend_type = 'walsender') from pg_stat_activity a join pg_stat_ssl s using (pid) where a.usename = 'enishi'").split(" ").map(Number);
  assert.ok(connections[0] > 1 && connections[1] === 0 && connections[2] === 1, `connections, plain ones, streams: ${connections}`);
  await until("both sides are the same", () => differences(company, server, { database: "kokyaku", folder, table: "m_kokyaku", key: "kokyaku_no", domain: "customer" }).found.length === 0);
});
