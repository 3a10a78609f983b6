-- A status that is older than a minute says that its guardian does not run.
-- name: get_continuity :one pipeline
select coalesce(
  (select jsonb_build_object('state', 'yellow', 'problems', '[]'::jsonb, 'at', c.at) || c.status
          || case when c.at < now() - interval '60 seconds' then jsonb_build_object('state', 'red', 'problems', jsonb_build_array(jsonb_build_object(
                 'code', 'GUARDIAN_SILENT', 'severity', 'red', 'detail', 'nothing was heard of the guardian of backups for a minute', 'way_out', 'enishi status --data DIR, on the database''s machine',
                 'since', c.at)) || coalesce(c.status -> 'problems', '[]'::jsonb)) else '{}'::jsonb end
     from continuity c),
  jsonb_build_object('state', 'external', 'at', now(), 'problems', '[]'::jsonb))

-- name: list_requests :many
select json_build_object('id', r.id, 'kind', r.kind, 'name', r.name, 'state', r.state, 'detail', r.detail, 'requested_by', r.requested_by, 'requested_at', r.requested_at,
         'started_at', r.started_at, 'finished_at', r.finished_at), r.requested_at::text, r.id::text
  from continuity_request r
 where (r.requested_at, r.id) < ($1::timestamptz, $2::uuid)
 order by r.requested_at desc, r.id desc limit $3::bigint

-- name: ask :optional
with made as (
  insert into continuity_request (id, kind, name, requested_by)
  select coalesce($1::uuid, new_id()), $2::text, $3::text, $4::text
   where exists (select from continuity) and (select count(*) from continuity_request w where w.state = 'WAITING') < 10
  returning *)
select answer(202, json_build_object('id', m.id, 'kind', m.kind, 'name', m.name, 'state', m.state, 'detail', m.detail, 'requested_by', m.requested_by,
         'requested_at', m.requested_at, 'started_at', m.started_at, 'finished_at', m.finished_at)) as body from made m

-- name: has_guardian :one pipeline
select exists (select from continuity)
