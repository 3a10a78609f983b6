-- Who is asking ----------------------------------------------------------------------------------------------------------

-- name: load_session :optional pipeline
select s.id, s.user_id, u.login, u.display_name, u.locale, u.team_id, s.csrf_token,
       (select string_agg(r.role, ' ' order by r.role) from user_role r where r.user_id = u.id) as roles,
       (select string_agg(t::text, ' ') from unnest(team_subtree(u.team_id)) t) as teams,
       (select string_agg(p.operation || ':' || p.widest, ' ') from (
          select p.operation, max(case p.scope when 'all' then 2 when 'team' then 1 else 0 end) as widest
          from user_role r join role_permission p on p.role = r.role where r.user_id = u.id group by p.operation) p) as permissions,
       s.last_seen_at < now() - interval '1 minute' as stale,
       (extract(epoch from least(s.expires_at, s.last_seen_at + $2::bigint * interval '1 second') - now()) * 1000)::bigint as lives_ms
from session s join app_user u on u.id = s.user_id
where s.token_hash = $1 and s.revoked_at is null and s.expires_at > now() and s.last_seen_at + $2::bigint * interval '1 second' > now()
  and u.active and u.deleted_at is null

-- name: load_api_token :optional pipeline
select t.id, t.user_id, u.login, u.display_name, u.locale, u.team_id, '' as csrf_token,
       (select string_agg(r.role, ' ' order by r.role) from user_role r where r.user_id = u.id) as roles,
       (select string_agg(s::text, ' ') from unnest(team_subtree(u.team_id)) s) as teams,
       (select string_agg(p.operation || ':' || p.widest, ' ') from (
          select p.operation, max(case p.scope when 'all' then 2 when 'team' then 1 else 0 end) as widest
          from user_role r join role_permission p on p.role = r.role
          where r.user_id = u.id and (t.scopes @> '{*}' or p.operation = any (t.scopes)) group by p.operation) p) as permissions,
       t.last_used_at is null or t.last_used_at < now() - interval '1 minute' as stale,
       (extract(epoch from coalesce(t.expires_at, now() + interval '1 day') - now()) * 1000)::bigint as lives_ms
from api_token t join app_user u on u.id = t.user_id
where t.token_hash = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > now()) and u.active and u.deleted_at is null

-- name: touch_sessions :exec
with sessions as (
  update session set last_seen_at = now() where token_hash = any ($1::bytea[]) and last_seen_at < now() - interval '1 minute' returning id)
update api_token set last_used_at = now()
where token_hash = any ($1::bytea[]) and (last_used_at is null or last_used_at < now() - interval '1 minute')

-- name: insert_views :exec
with quick as (select set_config('synchronous_commit', 'off', true))
insert into personal_data_view (at, user_id, operation, entity, entity_id, rows, request_id)
select clock_timestamp() - ($1::bigint - v.after_ms) * interval '1 millisecond', v.user_id, v.operation, v.entity, v.entity_id, v.rows, v.request_id
from quick, unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::integer[], $8::text[])
  as v (after_ms, user_id, operation, entity, entity_id, rows, request_id)

-- name: forget_old :exec
with throttle as (delete from login_throttle where last_failure_at < now() - interval '1 day' returning key),
     links as (delete from one_time_link where expires_at < now() - interval '30 days' returning user_id),
     sessions as (delete from session where expires_at < now() - interval '30 days' returning id)
delete from idempotency i using (select principal, key from idempotency where created_at < now() - interval '7 days' limit 20000) old
where i.principal = old.principal and i.key = old.key

-- Writes -----------------------------------------------------------------------------------------------------------------

-- name: begin_write :exec
select begin_write($1::text, $2::text, $3::uuid, $4::text, $5::bytea)

-- name: stored_answer :optional pipeline
select status, etag, answer from idempotency where principal = $1 and key = $2

-- Log in -----------------------------------------------------------------------------------------------------------------

-- The attempt counts as failed until it succeeded, so that a hundred at once do not all get through.
-- name: begin_login :one
with blocked as (
  select key, blocked_until from login_throttle where key in ('login:' || lower($1::text), 'address:' || $2::text) and blocked_until > now()),
attempt as (
  insert into login_throttle as t (key, failures, last_failure_at, blocked_until)
  select 'login:' || lower($1::text), 1, now(), now() where not exists (select from blocked)
  on conflict (key) do update set
    failures = case when t.last_failure_at < now() - interval '1 hour' then 1 else t.failures + 1 end,
    last_failure_at = now(),
    blocked_until = case when t.last_failure_at < now() - interval '1 hour' or t.failures + 1 < $3::integer then now()
                    else now() + least(900, power(2, least(20, t.failures + 1 - $3::integer))) * interval '1 second' end
  where t.blocked_until <= now()
  returning key)
select exists (select from attempt) as allowed,
       coalesce(ceil(extract(epoch from (select max(blocked_until) from blocked) - now()))::integer, 1) as wait_seconds,
       u.id, c.password_hash
from (select 1) as once
left join app_user u on lower(u.login) = lower($1::text) and u.active and u.deleted_at is null
left join user_credential c on c.user_id = u.id

-- name: fail_login :exec
insert into login_throttle as t (key, failures, last_failure_at, blocked_until)
values ('address:' || $1::text, 1, now(), now())
on conflict (key) do update set
  failures = case when t.last_failure_at < now() - interval '1 hour' then 1 else t.failures + 1 end,
  last_failure_at = now(),
  blocked_until = case when t.last_failure_at < now() - interval '1 hour' or t.failures + 1 < $2::integer then now()
                  else now() + least(900, power(2, least(20, t.failures + 1 - $2::integer))) * interval '1 second' end

-- name: open_session :exec
with forgiven as (delete from login_throttle where key = 'login:' || lower($1::text) returning key),
     rehashed as (update user_credential set password_hash = $9 where user_id = $4 and $9::text is not null returning user_id)
insert into session (token_hash, id, user_id, csrf_token, expires_at, remote, user_agent)
values ($2, $3, $4, $5, now() + $6::bigint * interval '1 second', $7, $8)

-- name: forgive_login :exec
delete from login_throttle where key = 'login:' || lower($1::text)

-- name: me :optional pipeline
select json_build_object(
  'user', json_build_object('id', u.id, 'login', u.login, 'display_name', u.display_name, 'team_id', u.team_id, 'locale', u.locale, 'version', u.version),
  'roles', (select coalesce(json_agg(r.role order by r.role), '[]') from user_role r where r.user_id = u.id),
  'operations', (select coalesce(json_object_agg(p.operation, (array['own', 'team', 'all'])[p.widest]), '{}') from (
     select p.operation, max(case p.scope when 'all' then 3 when 'team' then 2 else 1 end) as widest
     from user_role r join role_permission p on p.role = r.role
     where r.user_id = u.id and ($2::uuid is null or exists (
       select from api_token t where t.id = $2 and (t.scopes @> '{*}' or p.operation = any (t.scopes))))
     group by p.operation) p)) as body
from app_user u where u.id = $1

-- name: revoke_session_by_id :exec
update session set revoked_at = now() where id = $1 and revoked_at is null

-- name: set_password :exec
with others as (
  update session set revoked_at = now() where user_id = $1 and id is distinct from $3 and revoked_at is null returning id),
links as (update one_time_link set used_at = now() where user_id = $1 and used_at is null returning user_id)
insert into user_credential (user_id, password_hash) values ($1, $2)
on conflict (user_id) do update set password_hash = excluded.password_hash, changed_at = now()

-- name: find_link :optional pipeline
select u.id, u.login, l.used_at is null and l.expires_at > now() as good
from one_time_link l join app_user u on u.id = l.user_id
where l.token_hash = $1 and u.active and u.deleted_at is null

-- name: use_link :optional
with used as (
  update one_time_link set used_at = now() where token_hash = $1 and used_at is null and expires_at > now() returning user_id),
ended as (
  update session set revoked_at = now() where user_id in (select user_id from used) and revoked_at is null returning id),
forgiven as (
  delete from login_throttle where key = (select 'login:' || lower(u.login) from used join app_user u on u.id = used.user_id) returning key),
credential as (
  insert into user_credential (user_id, password_hash) select user_id, $2 from used
  on conflict (user_id) do update set password_hash = excluded.password_hash, changed_at = now() returning user_id)
insert into session (token_hash, id, user_id, csrf_token, expires_at, remote, user_agent)
select $3, $4, used.user_id, $5, now() + $6::bigint * interval '1 second', $7, $8 from used
returning user_id

-- Users ------------------------------------------------------------------------------------------------------------------

-- name: list_users :many
select json_build_object(
    'id', u.id, 'login', u.login, 'display_name', u.display_name, 'team_id', u.team_id, 'active', u.active, 'locale', u.locale,
    'roles', (select coalesce(json_agg(r.role order by r.role), '[]') from user_role r where r.user_id = u.id),
    'has_password', exists (select from user_credential c where c.user_id = u.id),
    'version', u.version, 'created_at', u.created_at, 'updated_at', u.updated_at) as item,
  lower(u.login) as key
from app_user u
where u.deleted_at is null and lower(u.login) > $4 and ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[]))
order by lower(u.login) limit $5

-- name: get_user :optional pipeline
select json_build_object(
    'id', u.id, 'login', u.login, 'display_name', u.display_name, 'team_id', u.team_id, 'active', u.active, 'locale', u.locale,
    'roles', (select coalesce(json_agg(r.role order by r.role), '[]') from user_role r where r.user_id = u.id),
    'has_password', exists (select from user_credential c where c.user_id = u.id),
    'version', u.version, 'created_at', u.created_at, 'updated_at', u.updated_at) as body,
  u.version
from app_user u
where u.id = $4 and u.deleted_at is null and ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[]))

-- name: create_user :one
with made as (
  insert into app_user (id, login, display_name, team_id, locale) values ($1, $2, $3, $4, coalesce($5, 'ja'))
  returning id, login, display_name, team_id, active, locale, version, created_at, updated_at),
given as (
  insert into user_role (user_id, role) select made.id, wanted from made, unnest($6::text[]) wanted returning role)
select answer(201, json_build_object(
    'id', id, 'login', login, 'display_name', display_name, 'team_id', team_id, 'active', active, 'locale', locale,
    'roles', (select coalesce(json_agg(role order by role), '[]') from given), 'has_password', false,
    'version', version, 'created_at', created_at, 'updated_at', updated_at), version::text) as body, version::text as etag
from made

-- $5 to $9 say which fields were given: null in the body clears a team, absence keeps it.
-- name: update_user :optional
with changed as (
  update app_user u set
    login = coalesce($3, u.login), display_name = coalesce($4, u.display_name),
    team_id = case when $5::boolean then $6::uuid else u.team_id end,
    active = coalesce($7::boolean, u.active), locale = coalesce($8, u.locale)
  where u.id = $1 and u.version = $2 and u.deleted_at is null
  returning id, login, display_name, team_id, active, locale, version, created_at, updated_at),
taken as (
  delete from user_role r using changed c where $9::text[] is not null and r.user_id = c.id and r.role <> all ($9::text[]) returning r.role),
given as (
  insert into user_role (user_id, role) select c.id, wanted from changed c, unnest($9::text[]) wanted
  on conflict do nothing returning role),
ended as (
  update session s set revoked_at = now() from changed c where s.user_id = c.id and not c.active and s.revoked_at is null returning s.id)
select answer(200, json_build_object(
    'id', c.id, 'login', c.login, 'display_name', c.display_name, 'team_id', c.team_id, 'active', c.active, 'locale', c.locale,
    'roles', case when $9::text[] is null
      then (select coalesce(json_agg(r.role order by r.role), '[]') from user_role r where r.user_id = c.id)
      else (select coalesce(json_agg(distinct wanted order by wanted), '[]') from unnest($9::text[]) wanted) end,
    'has_password', exists (select from user_credential k where k.user_id = c.id),
    'version', c.version, 'created_at', c.created_at, 'updated_at', c.updated_at), c.version::text) as body, c.version::text as etag
from changed c

-- name: make_link :optional
with old as (update one_time_link set used_at = now() where user_id = $1 and used_at is null returning user_id),
made as (
  insert into one_time_link (token_hash, user_id, purpose, expires_at)
  select $2, u.id, 'set_password', now() + interval '24 hours' from app_user u where u.id = $1 and u.active and u.deleted_at is null
  returning user_id, expires_at)
select answer(201, json_build_object('user_id', user_id, 'expires_at', expires_at, 'token', null)) as body from made

-- name: find_user_by_login :optional
select id, login from app_user where lower(login) = lower($1::text) and active and deleted_at is null

-- name: find_team_by_name :optional
select id from team where name = $1 and deleted_at is null

-- Several servers may start at once on one empty database. A statement of its own, so that the next one sees what the first server made.
-- name: lock_first_admin :exec
select pg_advisory_xact_lock(1162760522, 2)

-- Nobody has a password and no link is open: the link was lost, or the users came with sample data.
-- name: create_first_admin :optional
with made as (
  insert into app_user (id, login, display_name)
  select $1::uuid, 'admin', $2::text where not exists (select from app_user) returning id),
locked_out as (
  select u.id from app_user u where u.login = 'admin' and u.active and u.deleted_at is null and not exists (select from user_credential)
    and not exists (select from one_time_link l where l.used_at is null and l.expires_at > now())),
given as (insert into user_role (user_id, role) select id, 'admin' from made returning user_id)
insert into one_time_link (token_hash, user_id, purpose, expires_at)
select $3, id, 'set_password', now() + interval '24 hours' from (select id from made union all select id from locked_out) administrator
returning user_id

-- Sessions ---------------------------------------------------------------------------------------------------------------

-- name: list_user_sessions :many
select json_build_object('id', s.id, 'user_id', s.user_id, 'created_at', s.created_at, 'last_seen_at', s.last_seen_at, 'expires_at', s.expires_at,
    'remote', s.remote, 'user_agent', s.user_agent, 'current', s.id = $5) as item, s.id as key
from session s join app_user u on u.id = s.user_id
where s.user_id = $4 and s.revoked_at is null and s.expires_at > now() and s.last_seen_at + $6::bigint * interval '1 second' > now()
  and ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[]))
  and s.id > $7::uuid
order by s.id limit $8

-- name: revoke_session :optional
update session s set revoked_at = coalesce(s.revoked_at, now()) from app_user u
where s.id = $4 and u.id = s.user_id and ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[]))
returning answer(204, '{}') as body

-- Roles ------------------------------------------------------------------------------------------------------------------

-- name: list_roles :one
select json_build_object('items', json_agg(json_build_object('name', r.name, 'label_ja', r.label_ja, 'label_en', r.label_en, 'permissions',
    (select coalesce(json_agg(json_build_object('operation', p.operation, 'scope', p.scope) order by p.operation), '[]')
     from role_permission p where p.role = r.name)) order by r.name), 'next_cursor', null) as body
from role r

-- name: granted_operations :many
select distinct operation from role_permission

-- name: set_role_permissions :optional
with wanted as (select operation, scope from unnest($2::text[], $3::text[]) as w (operation, scope)),
taken as (delete from role_permission p where p.role = $1 and p.operation not in (select operation from wanted) returning p.operation),
given as (
  insert into role_permission (role, operation, scope) select $1, operation, scope from wanted
  on conflict (role, operation) do update set scope = excluded.scope where role_permission.scope <> excluded.scope returning operation)
select answer(200, json_build_object('name', r.name, 'label_ja', r.label_ja, 'label_en', r.label_en, 'permissions',
    (select coalesce(json_agg(json_build_object('operation', operation, 'scope', scope) order by operation), '[]') from wanted))) as body
from role r where r.name = $1

-- API tokens -------------------------------------------------------------------------------------------------------------

-- name: list_api_tokens :many
select json_build_object('id', t.id, 'user_id', t.user_id, 'name', t.name, 'scopes', t.scopes, 'created_at', t.created_at, 'expires_at', t.expires_at,
    'last_used_at', t.last_used_at, 'revoked_at', t.revoked_at) as item, t.id as key
from api_token t join app_user u on u.id = t.user_id
where ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[])) and t.id > $4::uuid
order by t.id limit $5

-- name: create_api_token :optional
with made as (
  insert into api_token (id, user_id, name, token_hash, scopes, expires_at)
  select $5, u.id, $6, $7, $8::text[], $9 from app_user u
  where u.id = coalesce($4::uuid, $2) and u.active and u.deleted_at is null
    and ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[]))
  returning id, user_id, name, scopes, created_at, expires_at)
select answer(201, json_build_object('id', id, 'user_id', user_id, 'name', name, 'scopes', scopes, 'created_at', created_at, 'expires_at', expires_at,
    'last_used_at', null, 'revoked_at', null, 'token', null)) as body
from made

-- name: revoke_api_token :optional
update api_token t set revoked_at = coalesce(t.revoked_at, now()) from app_user u
where t.id = $4 and u.id = t.user_id and ($1 = 'all' or u.id = $2 or $1 = 'team' and u.team_id = any ($3::uuid[]))
returning answer(204, '{}') as body

-- Teams ------------------------------------------------------------------------------------------------------------------

-- name: list_teams :many
select json_build_object('id', t.id, 'name', t.name, 'parent_id', t.parent_id, 'version', t.version, 'created_at', t.created_at,
    'updated_at', t.updated_at) as item, t.id as key
from team t where t.deleted_at is null and t.id > $1::uuid order by t.id limit $2

-- name: create_team :one
with made as (
  insert into team (id, name, parent_id) values ($1, $2, $3) returning id, name, parent_id, version, created_at, updated_at)
select answer(201, json_build_object('id', id, 'name', name, 'parent_id', parent_id, 'version', version, 'created_at', created_at,
    'updated_at', updated_at), version::text) as body, version::text as etag
from made

-- name: update_team :optional
with changed as (
  update team t set name = coalesce($3, t.name), parent_id = case when $4::boolean then $5::uuid else t.parent_id end
  where t.id = $1 and t.version = $2 and t.deleted_at is null
  returning id, name, parent_id, version, created_at, updated_at)
select answer(200, json_build_object('id', id, 'name', name, 'parent_id', parent_id, 'version', version, 'created_at', created_at,
    'updated_at', updated_at), version::text) as body, version::text as etag
from changed

-- name: get_team :optional pipeline
select json_build_object('id', t.id, 'name', t.name, 'parent_id', t.parent_id, 'version', t.version, 'created_at', t.created_at,
    'updated_at', t.updated_at) as body, t.version
from team t where t.id = $1 and t.deleted_at is null
