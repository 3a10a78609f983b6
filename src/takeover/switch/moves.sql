-- Where a domain stands, and its moves between owners.

-- name: ownership :optional
select o.state, o.epoch, o.number, o.read_only, o.system, d.position::text, coalesce(d.era, 1), d.phase, d.slot, d.publication,
       (extract(epoch from clock_timestamp() - o.changed_at) * 1000)::bigint
  from domain_ownership o left join takeover_domain d on d.domain = o.domain where o.domain = $1

-- name: lock_timeout :exec
-- (milliseconds)
select set_config('lock_timeout', $1, true)

-- name: move_domain :one
-- (domain, from state, from epoch, to state)
select move_domain($1::text, $2::text, $3::bigint, $4::text)

-- name: complete_domain :one
select complete_domain($1::text, $2::bigint)

-- name: abandon_domain :one
-- (domain, epoch): why not, or null
select abandon_domain($1::text, $2::bigint)

-- name: reverse_on :exec
select reverse_on($1::text)

-- name: reverse_off :exec
select reverse_off($1::text)

-- name: begin_move :one
-- (domain, kind, epoch, actor, id or null): again for one that was begun for the API
insert into takeover_move (id, domain, kind, step, epoch, actor) values (coalesce($5::uuid, new_id()), $1, $2, 'PREFLIGHT', $3, $4)
on conflict (id) do update set epoch = excluded.epoch returning id

-- name: note_step :exec
-- (move, step, epoch, held, released)
update takeover_move set step = $2, epoch = $3, held_at = case when $4::boolean then clock_timestamp() else held_at end,
       released_at = case when $5::boolean then clock_timestamp() else released_at end
 where id = $1

-- name: end_move :exec
-- (move, state, detail)
update takeover_move set state = $2, detail = detail || $3::jsonb, finished_at = clock_timestamp() where id = $1

-- name: end_moves_left :many
-- (domain, state, id that stays): of coordinators that died
update takeover_move set state = $2, detail = detail || '{"recovered": true}', released_at = coalesce(released_at, case when held_at is not null then clock_timestamp() end),
       finished_at = clock_timestamp() where domain = $1 and state = 'RUNNING' and id is distinct from $3::uuid and started_at < clock_timestamp() - $4::double precision * interval '1 second' returning id

-- name: preflight :one
-- (domain, system): open rejects; failures of the reverse stream; milliseconds since the stream was heard; the last clean comparison of everything in
-- this era, its source snapshot and whether a later one found something
select (select count(*) from takeover_reject r where r.system = $2 and r.domain = $1 and r.state = 'OPEN'),
       (select count(*) from takeover_reverse_failure f where f.domain = $1),
       (select (extract(epoch from clock_timestamp() - d.seen_at) * 1000)::bigint from takeover_domain d where d.domain = $1),
       c.id, c.snapshot_xmax,
       exists (select from takeover_diff_run l where l.domain = $1 and l.kind in ('FULL', 'SINCE') and l.state = 'DIFFERENT' and l.started_at > c.started_at)
  from (values (1)) one(n)
  left join lateral (select x.id, x.snapshot_xmax, x.started_at from takeover_diff_run x join takeover_domain d on d.domain = x.domain
                      where x.domain = $1 and x.kind in ('FULL', 'SINCE') and x.state = 'CLEAN' and x.era = d.era order by x.started_at desc limit 1) c on true

-- name: reached :one
-- (domain, position): whether everything up to there is stored here
select coalesce((select d.position >= $2::pg_lsn from takeover_domain d where d.domain = $1), false)

-- name: alarm :exec
-- (domain, kind, detail)
select raise_alarm($1::text, $2::text, $3::jsonb)

-- name: set_read_only :exec
select set_read_only($1::text, $2::text)

-- name: finish_domain :exec
update takeover_domain set phase = 'DONE', changed_at = now() where domain = $1

-- name: queued :many
-- (domain, limit, whether writers are kept off): from the first row that is there, for one whose transaction began before others may be written after them
select r.xid::text, r.id, r.record_id from takeover_reverse r
 where r.domain = $1 and ($3::boolean or r.xid < pg_snapshot_xmin(pg_current_snapshot()))
 order by r.xid, r.id limit $2

-- name: retried :many
-- (domain, all): failures whose time has come
select f.record_id from takeover_reverse_failure f where f.domain = $1 and ($2::boolean or f.retry_at <= clock_timestamp()) order by f.retry_at limit 50

-- name: records_to_write :many
-- (domain, system, ids): legacy key, the record with ids, digest, whether it is deleted, {id: id made of the key} of children that were made here
select i.id, k.legacy_key, w.record, encode(canonical_digest(c.record), 'hex'), coalesce((c.record ->> 'deleted')::boolean, true), adopted_children(w.record)
  from unnest($3::uuid[]) i(id)
  left join lateral (select x.legacy_key from legacy_identity x where x.system = $2 and x.domain = $1 and x.id = i.id order by x.deleted limit 1) k on true
  cross join lateral (select canonical_record($1, $2, i.id) as record) c
  cross join lateral (select record_with_ids($1, $2, i.id) as record) w

-- name: adopt_children :exec
-- (records, ids made of their children's keys, ids that those children have): what is known of these records is replaced
select adopt_children($1::uuid[], $2::uuid[], $3::uuid[])

-- name: learn_identities :exec
-- (system, domain, keys, ids, era)
select learn_identity($1, $2, k.key, k.id, $5) from unnest($3::text[], $4::uuid[]) k(key, id)

-- name: unlearned :many
-- (domain, system, records): those whose key is not known here
select r.id from unnest($3::uuid[]) r(id) where not exists (select from legacy_identity i where i.system = $2 and i.domain = $1 and i.id = r.id)

-- name: forget_queued :exec
-- (domain, xids, ids): the rows that were read, and no others
delete from takeover_reverse r using unnest($2::text[], $3::bigint[]) q(xid, id) where r.domain = $1 and r.xid = q.xid::xid8 and r.id = q.id

-- name: note_failure :exec
-- (domain, record, code, detail)
insert into takeover_reverse_failure as f (domain, record_id, code, detail) values ($1, $2, $3, $4)
on conflict (domain, record_id) do update set code = excluded.code, detail = excluded.detail, attempts = f.attempts + 1,
   retry_at = clock_timestamp() + least(interval '10 minutes', interval '1 second' * power(2, least(f.attempts, 10)))

-- name: forget_failures :exec
delete from takeover_reverse_failure where domain = $1 and record_id = any ($2::uuid[])

-- name: queue_length :one
select count(*) from takeover_reverse where domain = $1

-- name: taken_over :many
-- Domains that have another owner, or had one who still keeps something of the takeover.
select o.domain, o.state, o.epoch, o.system, o.number from domain_ownership o left join takeover_domain d on d.domain = o.domain
 where o.system is not null and o.state <> 'LOCAL' or o.state = 'LOCAL' and d.phase <> 'DONE'

-- name: place :optional
select s.system, s.conninfo, d.mapping::text from takeover_domain d join takeover_source s on s.system = d.system where d.domain = $1

-- name: ids_of :many
select i.id from legacy_identity i where i.system = $1 and i.domain = $2 and i.legacy_key = any ($3::text[]) and not i.deleted

-- name: end_unless_ended :exec
update takeover_move set state = 'ABORTED', detail = detail || $2::jsonb, finished_at = clock_timestamp() where id = $1 and state = 'RUNNING'

-- name: reversal :optional
-- (domain, epoch of the fence): the last batch that was begun, and the last that the source is known to have
select r.begun, r.done from takeover_reversal r where r.domain = $1 and r.epoch = $2::bigint

-- name: begin_reversal :one
-- (domain, epoch of the fence, the source's last batch): the number of the next
select begin_reversal($1, $2::bigint, $3::bigint)

-- name: end_reversal :exec
-- (domain, epoch of the fence, batch, records)
select end_reversal($1, $2::bigint, $3::bigint, $4::uuid[])

-- name: born_since :many
-- (domain, system, batch): keys of records born here that went with a later batch, and that the mirror has not seen since
select i.legacy_key from takeover_reversed r join legacy_identity i on i.id = r.record_id and i.system = $2 and i.domain = $1
 where r.domain = $1 and r.batch > $3::bigint and i.snapshot_xmax = 0

-- name: forget_identity :exec
-- (system, domain, keys)
select forget_identity($1, $2, $3::text[])

-- name: send_again :one
-- (domain, batch): queues what went with later ones; how many records
select send_again($1, $2::bigint)

-- name: now_there :one
-- Every transaction that was begun before this one has a lower number.
select pg_snapshot_xmax(pg_current_snapshot())::text

-- name: written_back :one
-- (domain, xid): whether nothing of an earlier transaction waits to be written back
select not exists (select from takeover_reverse r where r.domain = $1 and r.xid < $2::text::xid8)

-- name: queue_keys :one
-- (domain, system, keys): has these records written back; how many there are
with queued as (
  insert into takeover_reverse (domain, record_id)
  select $1, i.id from legacy_identity i where i.system = $2 and i.domain = $1 and i.legacy_key = any ($3::text[]) and not i.deleted returning 1)
select count(*) from queued

-- name: forget_foreign :exec
delete from takeover_foreign where domain = $1

-- name: queued_without_key :many
-- (domain, system): records made here that wait to be written back and have no key there that is known
select distinct r.record_id from takeover_reverse r
 where r.domain = $1 and not exists (select from legacy_identity i where i.system = $2 and i.domain = $1 and i.id = r.record_id)

-- name: unlock_domain :one
-- (domain, its epoch, the epoch it gets or null)
select unlock_domain($1::text, $2::bigint, $3::bigint)
