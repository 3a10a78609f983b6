-- Solicitation requests ----------------------------------------------------------------------------------------------------
-- name: insert_request :exec
insert into solicitation_request (id, customer_id, inquiry_id, scope, category_ids, call_attempt_id, operator_id, verbatim, disclosed_at, willingness_confirmed_at, requested_at)
select $1, i.customer_id, i.id, $3, $4::uuid[], $5, $6, $7, $8, $9, coalesce($10::timestamptz, now())
  from inquiry i where i.id = $2 and i.deleted_at is null and ($11::text = 'all' or i.owner_id = $6 or $11 = 'team' and i.team_id = any ($12::uuid[]))
on conflict (id) do nothing

-- name: made_request :optional
select answer(201, solicitation_request_json(r.id), r.version::text) as body, r.version::text as etag
  from solicitation_request r
 where r.id = $1 and r.inquiry_id = $2 and r.scope = $3 and r.category_ids = $4::uuid[] and r.verbatim = $5 and r.operator_id = $6

-- name: requests_of_inquiry :many
select solicitation_request_json(r.id) as item, r.requested_at::text, r.id::text
  from solicitation_request r join inquiry i on i.id = r.inquiry_id
 where r.inquiry_id = $4 and r.deleted_at is null and ($1 = 'all' or i.owner_id = $2 or $1 = 'team' and i.team_id = any ($3::uuid[]))
   and ($5::timestamptz is null or (r.requested_at, r.id) < ($5::timestamptz, $6::uuid))
 order by r.requested_at desc, r.id desc limit $7::integer + 1

-- name: requests_of_customer :many
select solicitation_request_json(r.id) as item, r.requested_at::text, r.id::text
  from solicitation_request r join inquiry i on i.id = r.inquiry_id
 where r.customer_id = $4 and r.deleted_at is null and ($1 = 'all' or i.owner_id = $2 or $1 = 'team' and i.team_id = any ($3::uuid[]))
   and ($5::timestamptz is null or (r.requested_at, r.id) < ($5::timestamptz, $6::uuid))
 order by r.requested_at desc, r.id desc limit $7::integer + 1

-- name: exists_request :optional
select 1 from solicitation_request r where r.id = $1

-- Bans -----------------------------------------------------------------------------------------------------------------------
-- name: insert_ban :exec
insert into solicitation_ban (id, customer_id, reason, source, call_attempt_id, inquiry_id)
select $1, c.id, $3, $4, $5, $6 from customer c where c.id = $2
   and ($7::text = 'all' or c.owner_id = $8::uuid or $7 = 'team' and c.team_id = any ($9::uuid[]))
on conflict (id) do nothing

-- name: made_ban :optional
select answer(201, solicitation_ban_json(b.id), b.version::text) as body, b.version::text as etag
  from solicitation_ban b where b.id = $1 and b.customer_id = $2 and b.reason = $3 and b.source = $4

-- name: exists_ban :optional
select 1 from solicitation_ban b where b.id = $1

-- name: get_ban :optional pipeline
select solicitation_ban_json(b.id) as body, b.version::text as etag
  from solicitation_ban b join customer c on c.id = b.customer_id
 where b.id = $1 and ($2 = 'all' or c.owner_id = $3 or $2 = 'team' and c.team_id = any ($4::uuid[]))

-- name: lift_ban :exec
update solicitation_ban b set lifted_at = now(), lift_reason = $2 where b.id = $1 and b.lifted_at is null

-- What this transaction lifted; in a statement of its own, for the ban's keys follow it by a trigger.
-- name: lifted_ban :optional
select answer(200, solicitation_ban_json(b.id), b.version::text) as body, b.version::text as etag from solicitation_ban b where b.id = $1 and b.lifted_at = now()

-- name: lifted_at :optional
select b.lifted_at::text from solicitation_ban b where b.id = $1

-- name: bans_of_customer :many
select solicitation_ban_json(b.id) as item, b.banned_at::text, b.id::text
  from solicitation_ban b join customer c on c.id = b.customer_id
 where b.customer_id = $4 and ($1 = 'all' or c.owner_id = $2 or $1 = 'team' and c.team_id = any ($3::uuid[]))
   and ($5::timestamptz is null or (b.banned_at, b.id) < ($5::timestamptz, $6::uuid))
 order by b.banned_at desc, b.id desc limit $7::integer + 1

-- Bans that cover a number, in force; whoever's they are.
-- name: bans_of_phone :many
select solicitation_ban_json(b.id) as item, b.banned_at::text, b.id::text
  from solicitation_ban b join customer c on c.id = b.customer_id
 where b.id in (select k.ban_id from solicitation_ban_key k where k.kind = 'phone' and k.key = $4 and k.active)
   and ($1 = 'all' or c.owner_id = $2 or $1 = 'team' and c.team_id = any ($3::uuid[]))
   and ($5::timestamptz is null or (b.banned_at, b.id) < ($5::timestamptz, $6::uuid))
 order by b.banned_at desc, b.id desc limit $7::integer + 1

-- name: bans_in_force :many
select solicitation_ban_json(b.id) as item, b.banned_at::text, b.id::text
  from solicitation_ban b join customer c on c.id = b.customer_id
 where b.lifted_at is null and ($1 = 'all' or c.owner_id = $2 or $1 = 'team' and c.team_id = any ($3::uuid[]))
   and ($4::timestamptz is null or (b.banned_at, b.id) < ($4::timestamptz, $5::uuid))
 order by b.banned_at desc, b.id desc limit $6::integer + 1

-- name: bans :many
select solicitation_ban_json(b.id) as item, b.banned_at::text, b.id::text
  from solicitation_ban b join customer c on c.id = b.customer_id
 where ($1 = 'all' or c.owner_id = $2 or $1 = 'team' and c.team_id = any ($3::uuid[]))
   and ($4::timestamptz is null or (b.banned_at, b.id) < ($4::timestamptz, $5::uuid))
 order by b.banned_at desc, b.id desc limit $6::integer + 1

-- Rules ----------------------------------------------------------------------------------------------------------------------
-- In force: the one that holds now; the later ones are to come.
-- name: rules :many
select json_build_object('name', r.name, 'effective_from', r.effective_from, 'value', r.value, 'source', r.source, 'added_by', r.added_by, 'added_at', r.added_at,
         'in_force', r.effective_from <= now()) as item, r.name, r.effective_from::text
  from rule r
 where (r.effective_from > now() or r.effective_from = (select max(x.effective_from) from rule x where x.name = r.name and x.effective_from <= now()))
   and ($1::text is null or (r.name, r.effective_from) > ($1::text, $2::timestamptz))
 order by r.name, r.effective_from limit $3::integer + 1

-- name: add_rule :one
with made as (
  insert into rule (name, effective_from, value, source) values ($1, coalesce($2::timestamptz, now()), $3::jsonb, $4)
  returning name, effective_from, value, source, added_by, added_at)
select answer(201, json_build_object('name', name, 'effective_from', effective_from, 'value', value, 'source', source, 'added_by', added_by, 'added_at', added_at,
         'in_force', effective_from <= now())) as body from made

-- name: assert_to_come :exec
select refuse('422', 'EFFECTIVE_IN_THE_PAST', 'A rule holds from now on or later; what held before is not rewritten.', jsonb_build_object('effective_from', $1::timestamptz))
 where $1::timestamptz < now() - interval '1 minute'

-- Personal data views ----------------------------------------------------------------------------------------------------------
-- Views: (before, its id, limit, since, …): those of [since, before), newest first. Bounds are never null, so that they are conditions of the index.
-- name: views :many
select json_build_object('at', v.at, 'user_id', v.user_id, 'user_name', u.display_name, 'operation', v.operation, 'entity', v.entity, 'entity_id', v.entity_id,
         'rows', v.rows, 'request_id', v.request_id) as item, v.at::text, v.id::text
  from personal_data_view v left join app_user u on u.id = v.user_id
 where (v.at, v.id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::bigint, 0)) and v.at >= coalesce($4::timestamptz, '-infinity')
 order by v.at desc, v.id desc limit $3::integer + 1

-- name: views_by_user :many
select json_build_object('at', v.at, 'user_id', v.user_id, 'user_name', u.display_name, 'operation', v.operation, 'entity', v.entity, 'entity_id', v.entity_id,
         'rows', v.rows, 'request_id', v.request_id) as item, v.at::text, v.id::text
  from personal_data_view v left join app_user u on u.id = v.user_id
 where v.user_id = $5 and (v.at, v.id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::bigint, 0)) and v.at >= coalesce($4::timestamptz, '-infinity')
 order by v.at desc, v.id desc limit $3::integer + 1

-- Of one record, by anybody or by one user ($6).
-- name: views_of_record :many
select json_build_object('at', v.at, 'user_id', v.user_id, 'user_name', u.display_name, 'operation', v.operation, 'entity', v.entity, 'entity_id', v.entity_id,
         'rows', v.rows, 'request_id', v.request_id) as item, v.at::text, v.id::text
  from views_of_record($5, $6, coalesce($4::timestamptz, '-infinity'), coalesce($1::timestamptz, 'infinity'), coalesce($2::bigint, 0), $3::integer + 1) v
  left join app_user u on u.id = v.user_id
 order by v.at desc, v.id desc
