-- Where each domain's takeover stands.

-- name: add_source :exec
insert into takeover_source (system, conninfo) values ($1, $2) on conflict (system) do update set conninfo = excluded.conninfo

-- name: add_domain :optional
-- What stood in the stream when it stopped cannot be read by what the source or the mapping is now: a new slot, and every key.
-- (domain, system, mapping, digest, slot, publication, rows a second, WAL bytes): nothing when another system has it.
insert into takeover_domain as d (domain, system, mapping, mapping_digest, slot, publication, most_rows_per_second, most_wal_bytes)
values ($1, $2, $3::jsonb, $4, $5, $6, $7, $8)
on conflict (domain) do update set mapping = excluded.mapping, mapping_digest = excluded.mapping_digest, most_rows_per_second = excluded.most_rows_per_second,
  most_wal_bytes = excluded.most_wal_bytes, changed_at = now(), abandoned_at = null,
  phase = case when d.abandoned_at is not null then 'CREATING'
               when d.phase <> 'STOPPED' then
                 case when d.mapping_digest <> excluded.mapping_digest and exists (select from domain_ownership o where o.domain = d.domain and o.state = 'LEGACY') then 'CREATING' else d.phase end
               when d.stop_code in ('TRUNCATED', 'SLOT_GIVEN_UP', 'COLUMN_CHANGED', 'SOURCE_CHANGED', 'COLUMN_MISSING', 'TABLE_MISSING', 'PUBLICATION_MISSING', 'MESSAGE_TOO_LARGE', 'STREAM_MALFORMED') or d.mapping_digest <> excluded.mapping_digest then 'CREATING'
               when d.copy_finished_at is null and d.columns is not null then 'COPYING' when d.columns is null then 'CREATING' else 'STREAMING' end,
  stop_code = null, stop_detail = null
where d.system = excluded.system
returning d.phase

-- name: own :optional
-- (domain, system, again): the domain belongs to the legacy system from now on, if it belonged to nobody, or was given up and is to be taken over again;
-- else whether it is Enishi's after a takeover that was completed (its last steps may still be due) or given up: what is written here since then is
-- nowhere else.
select case when o.state <> 'LOCAL' then o.system = $2
            when d.domain is null or d.abandoned_at is not null and $3::boolean then move_domain(o.domain, 'LOCAL', o.epoch, 'LEGACY', $2) else false end,
       o.state = 'LOCAL' and d.domain is not null, d.abandoned_at is not null
  from domain_ownership o left join takeover_domain d on d.domain = o.domain where o.domain = $1

-- name: domains :many
select d.domain from takeover_domain d where d.phase in ('CREATING', 'COPYING', 'STREAMING') order by d.domain

-- name: load :optional
select d.system, s.conninfo, d.mapping, d.phase, d.slot, d.publication, d.era, coalesce(d.source_identity, ''), coalesce(d.position::text, ''), d.columns is not null, d.most_rows_per_second,
       d.most_wal_bytes, o.state, o.number, d.copy_finished_at is not null
  from takeover_domain d join takeover_source s on s.system = d.system join domain_ownership o on o.domain = d.domain where d.domain = $1

-- name: lock_domain :one
select pg_try_advisory_lock(1162760522, $1::integer)

-- name: unlock_domain :one
select pg_advisory_unlock(1162760522, $1::integer)

-- name: still_there :one
select 1

-- name: begin_era :exec
-- (domain, era, identity, position, columns): the slot is made; every key is looked at from here. How many there are is known with the chunks.
update takeover_domain set phase = 'COPYING', era = $2::integer, source_identity = $3, position = $4::pg_lsn, columns = $5::jsonb, rows_estimate = null,
       copy_started_at = null, copy_finished_at = null, stop_code = null, stop_detail = null, changed_at = now() where domain = $1

-- name: forget_slot :exec
update takeover_domain set phase = 'CREATING', changed_at = now() where domain = $1

-- name: has_chunks :one
select exists (select from takeover_chunk c where c.domain = $1 and c.era = $2::integer)

-- name: add_chunks :exec
-- (domain, era, bounds, rows): chunk n goes from bound n to bound n + 1; the first and the last are open.
with old as (delete from takeover_chunk c where c.domain = $1 and c.era < $2::integer),
started as (update takeover_domain set copy_started_at = now(), rows_estimate = $4::bigint where domain = $1)
insert into takeover_chunk (domain, era, number, from_key, to_key)
select $1, $2::integer, n, case when n > 1 then ($3::text[])[n] end, ($3::text[])[n + 1] from generate_series(1, greatest(cardinality($3::text[]), 1)) n
on conflict do nothing

-- name: open_chunks :many
select c.number, c.from_key, c.to_key from takeover_chunk c where c.domain = $1 and c.era = $2::integer and c.done_at is null order by c.number

-- name: chunk_done :exec
update takeover_chunk set done_at = now(), rows = $4::integer where domain = $1 and era = $2::integer and number = $3::integer

-- name: no_waiting_for_disk :exec
select set_config('synchronous_commit', 'off', true)

-- name: unseen_keys :many
-- Keys of earlier eras that no chunk of this one met: gone, or the source lost them. (domain, system, era, after, limit)
select i.legacy_key from legacy_identity i where i.domain = $1 and i.system = $2 and i.era < $3::integer and not i.deleted and i.legacy_key > $4
 order by i.legacy_key limit $5::integer

-- name: copied :exec
update takeover_domain set phase = 'STREAMING', copy_finished_at = now(), matched_to = '', changed_at = now() where domain = $1 and phase = 'COPYING'

-- name: unmatched_keys :many
-- (domain, system, limit): keys of the copy that were not looked at yet for persons who are there twice; none when all were
select i.legacy_key from legacy_identity i where i.system = $2 and i.domain = $1 and not i.deleted
   and i.legacy_key > (select d.matched_to from takeover_domain d where d.domain = $1) order by i.legacy_key limit $3::integer

-- name: matched :exec
-- (domain, the last key that was looked at, or null for all)
update takeover_domain set matched_to = $2 where domain = $1 and matched_to is distinct from $2

-- name: advance :exec
-- (domain, position, end of the source's WAL, commit time in microseconds or null)
update takeover_domain set position = greatest(position, $2::pg_lsn), source_position = $3::pg_lsn, seen_at = now(),
       caught_up_at = case when $2::pg_lsn >= $3::pg_lsn then clock_timestamp() else caught_up_at end,
       source_at = coalesce(to_timestamp($4::bigint / 1000000.0), source_at) where domain = $1

-- name: linked_roots :many
select distinct l.root_key from unnest($3::text[], $4::text[]) r(table_name, row_key)
  join legacy_link l on l.system = $1 and l.domain = $2 and l.table_name = r.table_name and l.row_key = r.row_key

-- name: due_rejects :many
select r.legacy_key from takeover_reject r where r.system = $1 and r.domain = $2 and r.state = 'OPEN' and r.retry_at <= now() order by r.retry_at limit $3::integer

-- name: put_off :exec
-- A retry that did not come to an end must not come up again at once.
update takeover_reject set retry_at = now() + interval '5 seconds' where system = $1 and domain = $2 and state = 'OPEN' and legacy_key = any ($3::text[]) and retry_at <= now()

-- name: stop :exec
update takeover_domain set phase = 'STOPPED', stop_code = $2, stop_detail = $3, changed_at = now() where domain = $1 and phase <> 'STOPPED'

-- name: stopped :many
-- Mirrors that stopped and whose slot still holds WAL back: (domain, system, conninfo, slot, the most it may hold back)
select d.domain, d.system, s.conninfo, d.slot, d.most_wal_bytes from takeover_domain d join takeover_source s on s.system = d.system
 where d.phase = 'STOPPED' and d.stop_code <> 'SLOT_GIVEN_UP' and d.columns is not null and d.most_wal_bytes > 0

-- name: give_up_slot :exec
update takeover_domain set stop_code = 'SLOT_GIVEN_UP', stop_detail = $2, changed_at = now() where domain = $1 and phase = 'STOPPED'

-- name: alarm :exec
-- (domain, kind, what)
select raise_alarm($1::text, $2::text, jsonb_build_object('detail', $3::text))

-- name: foreign_changes :exec
-- (domain, rows, keys)
with noted as (
  insert into takeover_foreign as f (domain, legacy_key) select $1, k from unnest($3::text[]) k
  on conflict (domain, legacy_key) do update set times = f.times + 1, last_at = now())
update takeover_domain set foreign_changes = foreign_changes + $2::bigint, foreign_at = now() where domain = $1

-- name: status :many
-- What the API and the command line show of each domain.
select json_build_object('domain', o.domain, 'state', o.state, 'system', o.system, 'epoch', o.epoch, 'phase', d.phase, 'slot', d.slot, 'publication', d.publication, 'era', d.era,
         'position', d.position, 'source_position', d.source_position, 'lag_bytes', pg_wal_lsn_diff(d.source_position, d.position), 'source_at', d.source_at, 'seen_at', d.seen_at,
         'stop_code', d.stop_code, 'stop_detail', d.stop_detail, 'rows_estimate', d.rows_estimate,
         'copy_started_at', d.copy_started_at, 'copy_finished_at', d.copy_finished_at, 'chunks', c.chunks, 'chunks_done', c.done, 'rows_copied', c.rows,
         'seconds_left', case when d.phase = 'COPYING' and c.done > 0 then round(extract(epoch from now() - d.copy_started_at) * (c.chunks - c.done) / c.done, 1) end,
         'records', (select count(*) from legacy_identity i where i.system = d.system and i.domain = d.domain and not i.deleted),
         'rejects_open', (select count(*) from takeover_reject r where r.system = d.system and r.domain = d.domain and r.state = 'OPEN'),
         'foreign_changes', d.foreign_changes, 'foreign_at', d.foreign_at)
  from domain_ownership o join takeover_domain d on d.domain = o.domain
  cross join lateral (select count(*) as chunks, count(x.done_at) as done, coalesce(sum(x.rows), 0) as rows from takeover_chunk x where x.domain = d.domain and x.era = d.era) c
 order by o.number

-- name: rejects :many
-- (domain or null, state, limit)
select json_build_object('id', r.id, 'system', r.system, 'domain', r.domain, 'legacy_key', r.legacy_key, 'state', r.state, 'code', r.code, 'detail', r.detail, 'errors', r.errors,
         'content', r.content, 'attempts', r.attempts, 'first_at', r.first_at, 'last_at', r.last_at, 'retry_at', r.retry_at, 'reason', r.reason), r.id
  from takeover_reject r where ($1::text is null or r.domain = $1) and r.state = $2 order by r.id limit $3::integer

-- name: open_reject :optional
-- (domain, legacy key)
select r.id from takeover_reject r where r.domain = $1 and r.legacy_key = $2 and r.state = 'OPEN'

-- name: accept_reject :optional
update takeover_reject set state = 'ACCEPTED', reason = $2, decided_by = $3::uuid, last_at = now() where id = $1::bigint and state = 'OPEN' returning id

-- name: retry_rejects :one
with due as (update takeover_reject set retry_at = now() where domain = $1 and state = 'OPEN' returning 1) select count(*) from due

-- name: owner :one
select o.state, o.epoch from domain_ownership o where o.domain = $1
