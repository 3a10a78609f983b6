// Schemas that nobody here designed: Northwind (text keys, money as real, bytea), Pagila (domains, enums, partitions, 15 triggers) and Chinook (LATIN1, names with
// capitals), mapped, read and written back through their mapping folders, and taken over with the command line: scaffold, plan, copy, mirror, diff, switch, back, complete.
import test from "node:test";
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Enishi, eventually, root, scratch } from "../enishi.mjs";
import { Company, differences, plan, roundTrip, sample, takeover } from "./sources.mjs";

export const samples = {
  northwind: { file: "northwind.sql", customers: 91, domains: { customer: { table: "customers", key: "customer_id" }, goods: { table: "products", key: "product_id" } } },
  pagila: { file: "pagila.sql", customers: 599, domains: { customer: { table: "customer", key: "customer_id" } } },
  chinook: { file: "chinook_latin1.sql", encoding: "LATIN1", customers: 59, domains: { customer: { table: '"Customer"', key: '"CustomerId"' }, goods: { table: '"Track"', key: '"TrackId"' } } },
};
/** What happens there afterwards: shared rows, moved and deleted ones, LATIN1 text. */
const changes = {
  northwind: ["update suppliers set company_name = 'Exotic Liquids & Sons' where supplier_id = 1", "update customers set phone = null, city = 'Köln' where customer_id = 'ALFKI'",
    "insert into customers (customer_id, company_name) values ('ZZZZZ', '新しい会社')", "delete from customers where customer_id = 'ZZZZZ'", "insert into customers (customer_id, company_name) values ('YYYYY', '山田商店')"],
  pagila: ["update country set country = 'Nippon' where country = 'Japan'", "update customer set activebool = false where customer_id = 5",
    "begin; update address set phone = '090-1111-2222', postal_code = null where address_id = (select address_id from customer where customer_id = 7); update customer set address_id = (select address_id from customer where customer_id = 9) where customer_id = 8; commit",
    "begin; update customer set last_name = 'NOBODY'; rollback"],
  chinook: [`update "Artist" set "Name" = 'Björk Guðmundsdóttir' where "ArtistId" = 1`, `update "Customer" set "FirstName" = 'José' where "CustomerId" = 2`],
};
const checks = {
  northwind: "select count(*) from customer where display_name = '山田商店' and deleted_at is null",
  pagila: "select count(*) from customer_address where prefecture = 'Nippon' and deleted_at is null",
  chinook: "select count(*) from goods where description like 'Björk Guðmundsdóttir / %'",
};
/** A customer that is written on both sides of a switch: key, and what changes it there. */
const written = {
  northwind: { key: "ANATR", there: "update customers set city = 'Puebla' where customer_id = 'ANATR'" },
  pagila: { key: "1", there: "update customer set email = 'mary@example.com' where customer_id = 1" },
  chinook: { key: "3", there: `update "Customer" set "Email" = 'francois@example.com' where "CustomerId" = 3` },
};
const missing = Object.values(samples).filter(({ file }) => !sample(file)).map(({ file }) => file);
const skip = missing.length > 0 && `${missing.join(", ")} not found: set ENISHI_SAMPLES to the folder that holds them`;

test("public samples", { skip }, async (t) => {
  const company = await Company.start({ customers: 10 });
  t.after(() => company.stop());
  for (const [system, { file, encoding, domains }] of Object.entries(samples)) {
    company.load(system, sample(file), { encoding });
    for (const [domain, { table, key }] of Object.entries(domains)) {
      await t.test(`${system}/${domain}: every record, written back as it is, is read as it was`, () => {
        const { seen, wrong } = roundTrip(company, { database: system, folder: `tests/takeover/${system}/${domain}`, table, key }, { limit: 5000, user: "postgres", change: "r" });
        assert.equal(seen, Number(company.sql(system, `select count(*) from ${table}`, "postgres")));
        assert.ok(seen >= 59);
        assert.deepEqual(wrong, []);
      });
    }
  }
  await t.test("LATIN1 text arrives as it is", () => {
    assert.equal(company.sql("chinook", `select "FirstName" || ' ' || "LastName" from "Customer" where "CustomerId" = 1`, "postgres"), "Luís Gonçalves");
  });
});

test("public samples, taken over", { skip }, async (t) => {
  const company = await Company.start({ customers: 10 });
  t.after(() => company.stop());
  for (const [system, { file, encoding, domains, customers }] of Object.entries(samples)) {
    company.load(system, sample(file), { encoding });
    await t.test(system, async (t) => {
      const server = await Enishi.start();
      t.after(() => server.stop());
      const source = company.target(system);
      const every = Object.entries(domains).map(([domain, at]) => ({ domain, database: system, folder: `tests/takeover/${system}/${domain}`, user: "postgres", ...at }));
      const same = (of) => eventually(`${system}/${of.domain}: both sides the same`, () => {
        const { records, found } = differences(company, server, of);
        if (found.length > 0) throw new Error(`${found.length} of ${records} differ: ${JSON.stringify(found.slice(0, 2))}`);
        return records;
      }, 60_000);
      /** Until it goes through, as a user would on a busy machine. */
      const done = (verb, domain) => eventually(`${verb} ${domain}`, () => {
        const run = takeover(server, [verb, "--domain", domain]);
        if (run.status !== 0) throw new Error(run.out + run.err);
        t.diagnostic(run.out.trim());
        return run.out;
      }, 60_000);

      const draft = join(scratch("draft"), "customer"), table = `public.${domains.customer.table.replaceAll('"', "")}`;
      const drafted = takeover(server, ["scaffold", "--system", system, "--domain", "customer", "--root", table, "--mapping", draft], { source });
      assert.equal(drafted.status, 0, drafted.err);
      for (const name of ["mapping.toml", "forward.sql", "reverse.sql"]) assert.ok(existsSync(join(draft, name)), name);
      const incomplete = takeover(server, ["plan", "--mapping", draft], { source });
      assert.notEqual(incomplete.status, 0, "a draft without reasons was let pass");

      for (const of of every) {
        const first = plan(company, server, of.folder, system);
        assert.equal(first.status, 1, first.out + first.err);
        first.run();
        first.run(); // may be run again
        const again = takeover(server, ["plan", "--mapping", join(root, of.folder)], { source });
        assert.equal(again.status, 0, again.out + again.err);
        assert.doesNotMatch(again.out, /WRITE_RIGHT|REVERSE .*rolled back: /, again.out);
        const begun = takeover(server, ["start", "--mapping", join(root, of.folder)], { source });
        assert.equal(begun.status, 0, begun.err);
        await eventually(`${of.domain} is copied`, () => {
          const row = JSON.parse(takeover(server, ["status", "--json"]).out).find((one) => one.domain === of.domain);
          if (row.phase === "STOPPED") throw new Error(JSON.stringify(row));
          return row.phase === "STREAMING";
        }, 60_000);
        assert.deepEqual(JSON.parse(takeover(server, ["rejects", "--json", "--domain", of.domain]).out).map(({ legacy_key, code, detail }) => ({ legacy_key, code, detail })), []);
        const records = await same(of);
        if (of.domain === "customer") assert.equal(records, customers);
      }
      for (const sql of changes[system]) company.sql(system, sql);
      for (const of of every) await same(of);
      assert.ok(Number(server.sql(checks[system])) > 0, checks[system]);

      for (const of of every) assert.match(await done("diff", of.domain), /both sides are equal/);
      assert.match(await done("switch", "customer"), /OWNED/);
      const { key, there } = written[system], [customer] = every;
      const id = server.sql(`select id from legacy_identity where system = '${system}' and domain = 'customer' and legacy_key = '${key}'`);
      assert.throws(() => company.sql(system, there), /cannot be changed here any more/);
      server.sql(`update customer set display_name = display_name || ' 2' where id = '${id}'`);
      await same(customer);
      assert.match(await done("revert", "customer"), /LEGACY/);
      company.sql(system, there);
      await same(customer);
      await done("diff", "customer");
      await done("switch", "customer");
      server.sql(`update customer set display_name = display_name || ' 3' where id = '${id}'`);
      await same(customer);
      assert.match(await done("complete", "customer"), /LOCAL/);
      assert.match(server.sql(`select display_name from customer where id = '${id}'`), / 2 3$/);
      company.sql(system, there);
      // The rest of the source goes on.
      for (const of of every.slice(1)) await same(of);
    });
  }
});
