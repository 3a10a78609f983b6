-- Storing what was fetched from a source, and where the mirror stands.

-- name: apply_customers :one
select created, updated, deleted, stale
  from apply_customers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
                       $32, $33, $34, $35, $36, $37, $38, $39)

-- name: apply_inquiries :one
select created, updated, deleted, stale
  from apply_inquiries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)

-- name: apply_goods :one
select created, updated, deleted, stale from apply_goods($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)

-- name: savepoint :exec
savepoint mirror_part

-- name: rollback_to :exec
rollback to savepoint mirror_part

-- name: release :exec
release savepoint mirror_part

-- name: same_epoch :one
-- (domain, epoch): after something was stored, whose gate keeps the domain where it is until this transaction ends
select o.epoch = $2::bigint from domain_ownership o where o.domain = $1

-- name: store_links :exec
-- (system, domain, tables, row keys, root keys)
insert into legacy_link (system, domain, table_name, row_key, root_key)
select $1, $2, l.table_name, l.row_key, l.root_key from unnest($3::text[], $4::text[], $5::text[]) l(table_name, row_key, root_key) on conflict do nothing

-- name: store_rejects :exec
-- (system, domain, keys, codes, details, errors, contents): one that was accepted stays so until its content changes.
insert into takeover_reject as r (system, domain, legacy_key, code, detail, errors, content)
select $1, $2, x.key, x.code, x.detail, x.errors::jsonb, x.content::jsonb
  from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) x(key, code, detail, errors, content)
on conflict (system, domain, legacy_key) where state <> 'FIXED' do update set
  state = case when r.state = 'ACCEPTED' and r.content is distinct from excluded.content then 'OPEN' else r.state end,
  decided_by = case when r.content is distinct from excluded.content then null else r.decided_by end,
  reason = case when r.content is distinct from excluded.content then null else r.reason end,
  code = excluded.code, detail = excluded.detail, errors = excluded.errors, content = excluded.content, attempts = r.attempts + 1, last_at = now(),
  retry_at = now() + least(interval '1 hour', interval '5 seconds' * power(2, least(r.attempts, 12)))

-- name: fix_rejects :exec
-- (system, domain, keys that are stored now)
update takeover_reject set state = 'FIXED', content = null, last_at = now() where system = $1 and domain = $2 and state in ('OPEN', 'ACCEPTED') and legacy_key = any ($3::text[])

-- name: find_candidates :exec
-- (system, keys): the same person in another system, or made here: a number and a name in common.
insert into merge_candidate (customer_a, customer_b, reasons)
select least(c.id, d.id), greatest(c.id, d.id),
       array_remove(array[case when bool_or(d.name_key = c.name_key and c.name_key <> '') then 'SAME_PHONE_AND_NAME' end,
                          case when bool_or(d.kana_key = c.kana_key and c.kana_key <> '') then 'SAME_PHONE_AND_KANA' end], null)
  from legacy_identity i join customer c on c.id = i.id and c.deleted_at is null
  join customer_phone p on p.customer_id = c.id and p.deleted_at is null and p.e164 is not null
  join customer_phone q on q.e164 = p.e164 and q.customer_id <> c.id and q.deleted_at is null
  join customer d on d.id = q.customer_id and d.deleted_at is null and (d.name_key = c.name_key and c.name_key <> '' or d.kana_key = c.kana_key and c.kana_key <> '')
 where i.system = $1 and i.domain = 'customer' and i.legacy_key = any ($2::text[])
   and not exists (select from legacy_identity j where j.id = d.id and j.domain = 'customer' and j.system = $1)
 group by 1, 2
on conflict do nothing
