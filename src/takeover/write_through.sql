-- Edits of records that a legacy system owns: Enishi's side of them (db/migrations/0023_write_through.sql).

-- name: known :optional
-- (request, hash of the request): its state, and whether it was this request.
select t.state, t.request_hash is not distinct from $2 from takeover_intent t where t.id = $1::uuid

-- name: begin :exec
select write_through_begin($1::uuid)

-- name: savepoint :exec
savepoint looked

-- name: rollback_to :exec
rollback to savepoint looked

-- name: touched :one
select t.domain, t.domains, t.system, t.roots[1], cardinality(t.roots), array_to_string(t.elsewhere, ', '), t.children, encode(d.mapping_digest, 'hex'), s.conninfo, d.era
  from write_through_touched() t left join takeover_domain d on d.domain = t.domain left join takeover_source s on s.system = d.system

-- name: mapping :optional
select d.mapping from takeover_domain d where d.domain = $1

-- name: lock_record :optional
-- (id, system, domain): the mirror waits for whoever holds it.
select i.legacy_key from legacy_identity i where i.id = $1::uuid and i.system = $2 and i.domain = $3 and not i.deleted order by i.snapshot_xmax desc limit 1 for update

-- name: lock_key :optional
select i.id from legacy_identity i where i.system = $1 and i.domain = $2 and i.legacy_key = $3 for update

-- name: record :one
-- (domain, system, id): the record with ids, its canonical form and digest, and of its children's ids those that were not made of their key: {id: made of the key}
select r.record::text, c.canonical::text, encode(canonical_digest(c.canonical), 'hex'),
       adopted_children(r.record)
  from (select record_with_ids($1, $2, $3::uuid) as record) r, (select canonical_record($1, $2, $3::uuid) as canonical) c

-- name: differences :many
-- (as it was, as it was to be, as the source would have it): where the last two differ, and whether the source left there what it had.
select d.at, exists (select from record_differences($1::jsonb, $2::jsonb) u where u.at = d.at)
             and not exists (select from record_differences($1::jsonb, $3::jsonb) v where v.at = d.at or v.at like d.at || '/%' or d.at like v.at || '/%')
  from record_differences($2::jsonb, $3::jsonb) d

-- name: intend :one
select write_through_intend($1::uuid, $2, $3, $4::uuid, $5, $6::boolean, $7, $8::jsonb, $9, $10, $11::uuid, $12, $13::bytea, $14::integer, $15, $16::jsonb)

-- name: cancel :exec
select write_through_cancel($1::uuid, $2::jsonb)

-- name: finish :one
select body::text, etag from write_through_end($1::uuid, $2::jsonb, $3)

-- name: left_intents :many
select t.id from takeover_intent t where t.system = $1 and t.domain = $2 and t.state = 'PENDING' and t.created_at < now() - $3::bigint * interval '1 millisecond'
 order by t.created_at limit 100

-- name: take_intent :optional
-- Nothing while somebody is at work on it.
select t.legacy_key, t.actor from takeover_intent t where t.id = $1::uuid and t.state = 'PENDING' and pg_try_advisory_xact_lock(hashtextextended($1::uuid::text, 11))

-- name: act_for :exec
select set_config('enishi.through_actor', $1, true)

-- name: recovered :one
select body::text, etag from write_through_recovered($1::uuid)

-- name: era :optional
select d.era from takeover_domain d where d.domain = $1
