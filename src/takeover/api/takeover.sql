-- Takeover, as its page and its API show it.

-- Of a write that only asks whether its Idempotency-Key has been answered.
-- name: nothing :optional
select null::json as body where false

-- name: list_domains :one
select json_build_object('items', coalesce(json_agg(takeover_domain_json(o) order by o.number), '[]'), 'next_cursor', null)
  from domain_ownership o

-- name: get_domain :optional
select takeover_domain_json(o) from domain_ownership o where o.domain = $1::text

-- name: list_rejects :many
-- (domain, state, before id, limit): newest trouble first.
select takeover_reject_json(r), r.id from takeover_reject r
 where r.domain = $1::text and r.state = $2::text and ($3::bigint is null or r.id < $3::bigint)
 order by r.id desc limit $4::integer

-- name: get_reject :optional
select takeover_reject_json(r) from takeover_reject r where r.id = $1::bigint

-- name: accept_reject :optional
-- (id, reason, user)
with done as (update takeover_reject r set state = 'ACCEPTED', reason = $2::text, decided_by = $3::uuid where r.id = $1::bigint and r.state = 'OPEN' returning r)
select answer(200, takeover_reject_json(d.r)) as body from done d

-- name: retry_reject :optional
-- An accepted one is open again: this is also the way back.
with done as (update takeover_reject r set state = 'OPEN', reason = null, decided_by = null, retry_at = now() where r.id = $1::bigint and r.state <> 'FIXED' returning r)
select answer(202, takeover_reject_json(d.r)) as body from done d

-- name: list_diffs :many
-- (domain, before started_at, before id, limit)
select takeover_diff_json(d), d.started_at, d.id from takeover_diff_run d
 where d.domain = $1::text and ($2::timestamptz is null or (d.started_at, d.id) < ($2::timestamptz, $3::uuid))
 order by d.started_at desc, d.id desc limit $4::integer

-- name: get_diff :optional
select takeover_diff_json(d) from takeover_diff_run d where d.id = $1::uuid

-- name: answer_diff :one
select answer(202, takeover_diff_json(d)) as body from takeover_diff_run d where d.id = $1::uuid

-- name: list_differences :many
-- (run, after legacy_key, after pointer, limit)
select json_build_object('legacy_key', x.legacy_key, 'record_id', x.record_id, 'pointer', x.pointer, 'here', x.here, 'there', x.there, 'found_at', x.found_at), x.legacy_key, x.pointer
  from takeover_difference x
 where x.run_id = $1::uuid and ($2::text is null or (x.legacy_key, x.pointer) > ($2::text, $3::text))
 order by x.legacy_key, x.pointer limit $4::integer

-- name: list_moves :many
-- (domain, before started_at, before id, limit)
select takeover_move_json(m), m.started_at, m.id from takeover_move m
 where m.domain = $1::text and ($2::timestamptz is null or (m.started_at, m.id) < ($2::timestamptz, $3::uuid))
 order by m.started_at desc, m.id desc limit $4::integer

-- name: get_move :optional
select takeover_move_json(m) from takeover_move m where m.id = $1::uuid

-- name: answer_move :one
select answer(202, takeover_move_json(m)) as body from takeover_move m where m.id = $1::uuid

-- name: abort_move :one
select abort_move($1::uuid)

-- name: acknowledge_alarm :optional
with done as (update takeover_alarm a set acknowledged_at = now() where a.id = $1::bigint and a.acknowledged_at is null returning a)
select answer(200, takeover_alarm_json(d.a)) as body from done d

-- name: list_merge_candidates :many
-- (state, before created_at, before id, limit)
select merge_candidate_json(m), m.created_at, m.id from merge_candidate m
 where m.state = $1::text and ($2::timestamptz is null or (m.created_at, m.id) < ($2::timestamptz, $3::uuid))
 order by m.created_at desc, m.id desc limit $4::integer

-- name: get_merge_candidate :optional
select merge_candidate_json(m) from merge_candidate m where m.id = $1::uuid

-- name: merge_customers :optional
-- (candidate, customer to keep, user)
select answer(200, merge_candidate_json(m)) as body from merge_customers($1::uuid, $2::uuid, $3::uuid) m where m.id is not null

-- name: separate_customers :optional
-- (candidate, user)
select answer(200, merge_candidate_json(m)) as body from separate_customers($1::uuid, $2::uuid) m where m.id is not null

-- name: resolve_legacy_key :optional pipeline
-- Of somebody who was merged: the one that was kept.
select json_build_object('system', i.system, 'domain', i.domain, 'legacy_key', i.legacy_key, 'id', coalesce(m.kept, i.id), 'deleted', i.deleted and m.kept is null)
  from legacy_identity i left join customer_merge m on m.merged = i.id where i.system = $1::text and i.domain = $2::text and i.legacy_key = $3::text

-- name: list_legacy_keys :one pipeline
select json_build_object('items', coalesce(json_agg(json_build_object('system', i.system, 'domain', i.domain, 'legacy_key', i.legacy_key, 'id', $1::uuid, 'deleted', i.deleted and i.id = $1::uuid)
         order by i.system, i.domain, i.legacy_key), '[]'), 'next_cursor', null)
  from legacy_identity i where i.id = $1::uuid or i.id in (select m.merged from customer_merge m where m.kept = $1::uuid)

-- What /metrics says of each domain that has a legacy system.
-- name: observe :many
select o.domain, d.system, o.state, d.phase, takeover_lag_bytes(d), takeover_lag_ms(d),
       (select count(*) from takeover_reject r where r.domain = o.domain and r.state = 'OPEN'),
       (select count(*) from (select from takeover_reverse q where q.domain = o.domain limit 100000) few),
       (select coalesce(sum(c.rows), 0) from takeover_chunk c where c.domain = o.domain and c.era = d.era and c.done_at is not null),
       (select count(*) from takeover_alarm a where a.domain = o.domain and a.acknowledged_at is null),
       (select extract(epoch from m.released_at - m.held_at) from takeover_move m where m.domain = o.domain and m.released_at is not null order by m.started_at desc limit 1)
  from domain_ownership o join takeover_domain d using (domain)
