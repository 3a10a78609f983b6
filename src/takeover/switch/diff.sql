-- Enishi's side of a comparison. Rejects that somebody accepted are left out: they differ, and that is known.

-- name: begin_run :one
-- (domain, kind, era, source snapshot's xmax, position, records a second, id or null): again for one that was begun for the API
insert into takeover_diff_run (id, domain, kind, era, snapshot_xmax, from_position, records_per_second) values (coalesce($7::uuid, new_id()), $1, $2, $3, $4::bigint, $5::pg_lsn, $6)
on conflict (id) do update set era = excluded.era, snapshot_xmax = excluded.snapshot_xmax, from_position = excluded.from_position returning id

-- name: unfinished_run :optional
-- (domain, era): one that was cut short can go on
select id, coalesce(next_key, ''), next_chunk, records, differences, snapshot_xmax from takeover_diff_run
 where domain = $1 and kind = 'FULL' and state in ('RUNNING', 'CUT_SHORT') and era = $2 and started_at > now() - interval '1 day' order by started_at desc limit 1

-- name: note_chunk :exec
-- (run, next key, records in all, differences in all)
update takeover_diff_run set next_key = $2, next_chunk = next_chunk + 1, records = $3, differences = $4, state = 'RUNNING' where id = $1

-- name: end_run :exec
-- (run, state, position, records, differences)
update takeover_diff_run set state = $2, to_position = $3::pg_lsn, records = $4, differences = $5, finished_at = clock_timestamp() where id = $1

-- name: cut_short :exec
update takeover_diff_run set state = 'CUT_SHORT', finished_at = clock_timestamp() where id = $1::uuid and state = 'RUNNING'

-- name: keys_after :many
-- (system, domain, after, limit)
select i.legacy_key from legacy_identity i where i.system = $1 and i.domain = $2 and not i.deleted and i.legacy_key > $3
   and not exists (select from takeover_reject r where r.system = i.system and r.domain = i.domain and r.legacy_key = i.legacy_key and r.state = 'ACCEPTED')
 order by i.legacy_key limit $4

-- name: next_range :one
-- (system, domain, after, limit, form): the keys of the next range as one array, how many, the last; where a range that was equal before ends, and its fingerprints
with v as (select t.to_key, t.here, t.there from takeover_verified t
            where t.domain = $2 and t.to_key > $3 and t.form = $5 and t.verified_at > now() - interval '1 day' order by t.to_key limit 1),
k as (select i.legacy_key as key from legacy_identity i where i.system = $1 and i.domain = $2 and not i.deleted and i.legacy_key > $3
         and i.legacy_key <= coalesce((select v.to_key from v), (select max(m.legacy_key) from legacy_identity m where m.system = $1 and m.domain = $2))
         and not exists (select from takeover_reject r where r.system = i.system and r.domain = i.domain and r.legacy_key = i.legacy_key and r.state = 'ACCEPTED')
       order by i.legacy_key limit $4::integer * (select 1 + count(*)::integer from v))
select array_agg(k.key)::text, count(*), max(k.key), (select v.to_key from v), (select v.here from v), (select v.there from v) from k

-- name: elements :many
select u.key from unnest($1::text[]) u(key)

-- name: form :one
select encode(sha256(convert_to($1, 'UTF8')), 'hex')

-- name: fingerprint :one
-- (system, domain, keys)
select rows_fingerprint($1, $2, $3::text[])

-- name: verified :exec
-- (domain, form, last key, here, there)
insert into takeover_verified (domain, form, to_key, here, there) values ($1, $2, $3, $4, $5)
on conflict (domain, to_key) do update set form = excluded.form, here = excluded.here, there = excluded.there, verified_at = now()

-- name: forget_verified :exec
-- (domain, form)
delete from takeover_verified where domain = $1 and (form <> $2 or verified_at < now() - interval '7 days')

-- name: chunk_digest :one
-- (system, domain, keys): as the source gives it for the same keys, and the rows' fingerprint in the same snapshot
with i as materialized (select k.legacy_key, k.id from legacy_identity k where k.system = $1 and k.domain = $2 and not k.deleted and k.legacy_key = any ($3::text[]))
select count(*), encode(sha256(coalesce(string_agg(canonical_digest(c.record), ''::bytea order by i.legacy_key collate "C"), ''::bytea)), 'hex'), rows_fingerprint($1, $2, $3::text[])
  from i left join canonical_records($2, $1, array(select i.id from i)) c on c.id = i.id

-- name: record_digests :many
-- (system, domain, keys): key, digest, whether it is deleted
with i as materialized (select k.legacy_key, k.id from legacy_identity k where k.system = $1 and k.domain = $2 and not k.deleted and k.legacy_key = any ($3::text[]))
select i.legacy_key, encode(canonical_digest(c.record), 'hex'), coalesce((c.record ->> 'deleted')::boolean, true)
  from i left join canonical_records($2, $1, array(select i.id from i)) c on c.id = i.id

-- name: unknown_keys :many
-- (system, domain, keys of the source): those that are not here, rejects apart
select k.key from unnest($3::text[]) k(key)
 where not exists (select from legacy_identity i where i.system = $1 and i.domain = $2 and i.legacy_key = k.key and not i.deleted)
   and not exists (select from takeover_reject r where r.system = $1 and r.domain = $2 and r.legacy_key = k.key and r.state = 'ACCEPTED')

-- name: changed_keys :many
-- (system, domain, era, source snapshot's xmax, limit): fetched by snapshots after that one
select i.legacy_key from legacy_identity i where i.system = $1 and i.domain = $2 and (i.era > $3 or i.era = $3 and i.snapshot_xmax >= $4) limit $5

-- name: moved_keys :many
-- (domain, system): of records that either side changed since Enishi owns, and of those in which the last comparison found something
select i.legacy_key from takeover_reversed r join legacy_identity i on i.id = r.record_id and i.system = $2 and i.domain = $1 and not i.deleted where r.domain = $1
union select f.legacy_key from takeover_foreign f where f.domain = $1
union select d.legacy_key from takeover_difference d where d.run_id = (select x.id from takeover_diff_run x where x.domain = $1 and x.state in ('CLEAN', 'DIFFERENT') order by x.started_at desc limit 1)

-- name: found_keys :many
-- (run, limit)
select distinct d.legacy_key from takeover_difference d where d.run_id = $1::uuid order by d.legacy_key limit $2

-- name: last_found :optional
-- (domain): the last comparison that came to an end, if it found something
select x.id from (select r.id, r.state from takeover_diff_run r where r.domain = $1 and r.state in ('CLEAN', 'DIFFERENT') order by r.started_at desc limit 1) x
 where x.state = 'DIFFERENT'

-- name: store_differences :exec
-- (run, system, domain, keys, records there or null): of one that neither side has a record of, a line says so
insert into takeover_difference (run_id, legacy_key, record_id, pointer, here, there)
select $1, k.key, i.id, d.at, d.h, d.t
  from unnest($4::text[], $5::text[]) k(key, there)
  left join legacy_identity i on i.system = $2 and i.domain = $3 and i.legacy_key = k.key and not i.deleted
  cross join lateral (select canonical_record($3, $2, i.id) as record) c
  cross join lateral (select x.at, x.h, x.t from record_differences(c.record, k.there::jsonb) x
                      union all select '', null, null where c.record is null and k.there is null) d
on conflict (run_id, legacy_key, pointer) do update set here = excluded.here, there = excluded.there, found_at = now()
