-- Statements of the work queue. Rights: (scope text, who uuid, teams uuid[]) as $1, $2, $3.

-- First step of whatever hands out work: no work outside contact hours.
-- name: contact_hours :exec
select assert_contact_hours(now())

-- The best tasks that the caller may claim: nobody's and their own, in no team and in each of theirs, which are all for scope all. Each of these lanes gives
-- its best from the index call_task_claim, so that the tasks of others cost nothing. 32: more than are being claimed at one moment; when others hold them all,
-- the caller asks again.
-- piece: best_ready
select l.id, l.priority, l.due_at from (
         (select t.id, t.priority, t.due_at from call_task t
              where t.state = 'READY' and t.owner_id is null and t.team_id is null order by t.owner_id, t.team_id, t.priority desc, t.due_at, t.id limit 32)
         union all
         (select t.id, t.priority, t.due_at from call_task t
              where t.state = 'READY' and t.owner_id = $2::uuid and t.team_id is null order by t.owner_id, t.team_id, t.priority desc, t.due_at, t.id limit 32)
         union all
         select x.id, x.priority, x.due_at
           from (select unnest($3::uuid[]) as id where $1::text <> 'all' union all select m.id from team m where $1 = 'all') mine
          cross join lateral (
            (select t.id, t.priority, t.due_at from call_task t
                 where t.state = 'READY' and t.owner_id is null and t.team_id = mine.id order by t.owner_id, t.team_id, t.priority desc, t.due_at, t.id limit 32)
            union all
            (select t.id, t.priority, t.due_at from call_task t
                 where t.state = 'READY' and t.owner_id = $2 and t.team_id = mine.id order by t.owner_id, t.team_id, t.priority desc, t.due_at, t.id limit 32)) x) l
 order by l.priority desc, l.due_at, l.id limit 32

-- The next best task of the caller's teams, or the one that the caller holds already. A banned one becomes BLOCKED here (the task's trigger) and
-- gives no row: the caller asks again.
-- name: claim_next :optional
with held as (
  select t.* from call_task t where t.assigned_to = $2::uuid and t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP')),
best as (
  select t.id from ({{best_ready}}) b join call_task t on t.id = b.id
   where t.state = 'READY' and (select count(*) from held) < (rule_value('tasks_per_operator') #>> '{}')::integer
   order by b.priority desc, b.due_at, b.id
   limit 1 for update of t skip locked),
claimed as (
  update call_task t set state = 'ASSIGNED', assigned_to = $2, lease_expires_at = now() + (rule_value('task_lease_seconds') #>> '{}')::integer * interval '1 second'
    from best where t.id = best.id
  returning t.*),
got as (
  select row_to_json(c) as body, c.state, c.version from claimed c
  union all select row_to_json(h), h.state, h.version from held h where not exists (select from claimed))
select answer(200, body, version::text) as body, version::text as etag from got where state <> 'BLOCKED' limit 1

-- Whether another claim may find something.
-- name: more_ready :optional pipeline
select b.id from ({{best_ready}}) b limit 1

-- name: claim_one :optional
with best as (
  select t.id from call_task t
   where t.id = $4::uuid and t.state in ('READY', 'SCHEDULED')
     and (t.owner_id is null or t.owner_id = $2::uuid or $1::text <> 'own') and ($1 = 'all' or t.team_id is null or t.team_id = any ($3::uuid[]))
   for update),
claimed as (
  update call_task t set state = 'ASSIGNED', assigned_to = $2, lease_expires_at = now() + (rule_value('task_lease_seconds') #>> '{}')::integer * interval '1 second'
    from best where t.id = best.id and t.state in ('READY', 'SCHEDULED')
  returning t.*)
select answer(200, row_to_json(claimed), version::text) as body, version::text as etag from claimed where state <> 'BLOCKED'

-- name: get_task :optional pipeline
select json_build_object('call_task', row_to_json(t),
         'customer', (select json_build_object('id', c.id, 'display_name', c.display_name, 'kana', c.kana, 'flags', c.flags) from customer c where c.id = t.customer_id),
         'allowed_transitions', coalesce((select json_agg(x.to_state order by x.to_state) from transition x where x.entity = 'call_task' and x.from_state = t.state), '[]')) as body,
       t.version::text as etag
  from call_task t
 where t.id = $4::uuid and (within_scope($1::text, $2::uuid, $3::uuid[], t.owner_id, t.team_id) or t.assigned_to = $2)

-- Why a write touched nothing.
-- name: look_at_task :optional pipeline
select t.state, t.version, t.assigned_to, t.assigned_to is not distinct from $2::uuid as mine,
       (select json_agg(x.to_state order by x.to_state) from transition x where x.entity = 'call_task' and x.from_state = t.state) as allowed
  from call_task t
 where t.id = $4::uuid and (within_scope($1::text, $2, $3::uuid[], t.owner_id, t.team_id) or t.assigned_to = $2)

-- name: create_task :optional
with added as (
  insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, note, owner_id, team_id)
  select $4::uuid, i.customer_id, i.id, $6::text, case when $7::timestamptz <= now() then 'READY' else 'SCHEDULED' end, task_priority($6, i.media_source_id), $7,
         coalesce($8::text, ''), $9::uuid, i.team_id
    from inquiry i where i.id = $5::uuid and i.deleted_at is null and within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
  returning *),
planned as (
  update inquiry i set next_action = case added.kind when 'CALLBACK' then 'CALLBACK' when 'PRE_VISIT' then 'PRE_VISIT_CALL' when 'NURTURE' then 'NURTURE_CALL' else 'CALL' end, next_action_at = added.due_at
    from added where i.id = added.inquiry_id and added.kind <> 'PRE_VISIT' and i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING'))
select answer(201, row_to_json(added), version::text) as body, version::text as etag from added

-- A task for a customer who has no inquiry.
-- name: create_task_for_customer :optional
with added as (
  insert into call_task (id, customer_id, kind, state, priority, due_at, note, owner_id, team_id)
  select $4::uuid, c.id, $6::text, case when $7::timestamptz <= now() then 'READY' else 'SCHEDULED' end, task_priority($6, null), $7,
         coalesce($8::text, ''), $9::uuid, coalesce(c.team_id, $10::uuid)
    from customer c where c.id = $5::uuid and c.deleted_at is null and ($1::text = 'all' or c.team_id is null or c.team_id = any ($3::uuid[]) or c.owner_id = $2::uuid)
  returning *)
select answer(201, row_to_json(added), version::text) as body, version::text as etag from added

-- Gives the task back; who reads it next finds it where it was.
-- name: release_task :optional
with changed as (
  update call_task t set state = 'READY', assigned_to = null, lease_expires_at = null
   where t.id = $4::uuid and t.state = 'ASSIGNED' and (t.assigned_to = $2::uuid or $1::text <> 'own' and within_scope($1, $2, $3::uuid[], t.owner_id, t.team_id))
  returning t.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- To another owner (null: anybody), and out of the hands of whoever holds it without being on the phone.
-- name: reassign_task :optional
with changed as (
  update call_task t set owner_id = $5::uuid, team_id = coalesce($6::uuid, t.team_id), state = case when t.state = 'ASSIGNED' then 'READY' else t.state end, assigned_to = null, lease_expires_at = null
   where t.id = $4::uuid and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED') and within_scope($1::text, $2::uuid, $3::uuid[], t.owner_id, t.team_id)
  returning t.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- name: snooze_task :optional
with changed as (
  update call_task t set state = 'SCHEDULED', due_at = $5::timestamptz, assigned_to = null, lease_expires_at = null
   where t.id = $4::uuid and t.state in ('SCHEDULED', 'READY', 'ASSIGNED') and (t.assigned_to is null or t.assigned_to = $2::uuid or $1::text <> 'own')
     and (t.assigned_to = $2 or within_scope($1, $2, $3::uuid[], t.owner_id, t.team_id))
  returning t.*),
planned as (
  update inquiry i set next_action_at = changed.due_at from changed
   where i.id = changed.inquiry_id and changed.kind <> 'PRE_VISIT' and i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING'))
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- The holder is alive: a call is given longer than a task that waits to be called.
-- name: extend_lease :optional
with changed as (
  update call_task t set lease_expires_at = now() + (rule_value(case when t.state = 'ASSIGNED' then 'task_lease_seconds' else 'call_lease_seconds' end) #>> '{}')::integer * interval '1 second'
   where t.id = $2::uuid and t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and t.assigned_to = $1::uuid
  returning t.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- name: cancel_task :optional
with changed as (
  update call_task t set state = 'CANCELLED', assigned_to = null, lease_expires_at = null, note = left(trim(t.note || E'\n' || $5::text), 1000)
   where t.id = $4::uuid and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'BLOCKED') and (t.assigned_to is null or t.assigned_to = $2::uuid or $1::text <> 'own')
     and (t.assigned_to = $2 or within_scope($1, $2, $3::uuid[], t.owner_id, t.team_id))
  returning t.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- By compliance, once the ban is lifted: against a ban that stands the task's trigger refuses.
-- name: unblock_task :optional
with changed as (
  update call_task t set state = case when t.due_at <= now() then 'READY' else 'SCHEDULED' end, note = left(trim(t.note || E'\n' || $5::text), 1000)
   where t.id = $4::uuid and t.state = 'BLOCKED' and within_scope($1::text, $2::uuid, $3::uuid[], t.owner_id, t.team_id)
  returning t.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- name: list_priority_rules :one pipeline
select json_build_object('items', coalesce(json_agg(json_build_object('id', r.id, 'kind', r.kind, 'media_source_id', r.media_source_id, 'priority', r.priority, 'effective_from', r.effective_from,
         'in_force', r.effective_from <= now() and not exists (select from priority_rule n where n.kind = r.kind and n.media_source_id is not distinct from r.media_source_id
                                                                  and n.effective_from <= now() and n.effective_from > r.effective_from))
         order by r.kind, r.media_source_id nulls first, r.effective_from desc), '[]'), 'next_cursor', null) as body
  from priority_rule r

-- name: create_priority_rule :one
with added as (
  insert into priority_rule (id, kind, media_source_id, priority, effective_from) values ($1::uuid, $2::text, $3::uuid, $4::integer, coalesce($5::timestamptz, now()))
  returning id, kind, media_source_id, priority, effective_from)
select answer(201, json_build_object('id', id, 'kind', kind, 'media_source_id', media_source_id, 'priority', priority, 'effective_from', effective_from, 'in_force', effective_from <= now())) as body from added

-- Lists: (scope, who, teams, limit, then the cursor's keys).
-- piece: item
t.id, t.customer_id, t.inquiry_id, t.appointment_id, t.kind, t.state, t.priority, t.due_at, t.note, t.assigned_to, t.lease_expires_at, t.owner_id, t.team_id, t.attempts, t.blocked_reason, t.version
-- piece: with_customer
  from (select t.*, c.display_name as customer_display_name, c.flags as customer_flags
          from (
-- piece: due_page
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $4::integer then to_char((array_agg(p.due_at))[$4] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$4]::text end) as body
{{with_customer}}
-- piece: due_end
       ) t join customer c on c.id = t.customer_id
         order by t.due_at, t.id) p
-- piece: later
within_scope($1::text, $2::uuid, $3::uuid[], t.owner_id, t.team_id)
       and (t.due_at, t.id) > (coalesce($5::timestamptz, '-infinity'), coalesce($6::uuid, '00000000-0000-0000-0000-000000000000'))

-- name: ready_tasks :one
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $4::integer then (array_agg(p.priority))[$4]::text || '_' || to_char((array_agg(p.due_at))[$4] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$4]::text end) as body
{{with_customer}}
    select {{item}} from call_task t
     where t.state = 'READY' and t.priority <= $5::integer
       and (t.priority < $5 or (t.due_at, t.id) > (coalesce($6::timestamptz, '-infinity'), coalesce($7::uuid, '00000000-0000-0000-0000-000000000000')))
       and within_scope($1::text, $2::uuid, $3::uuid[], t.owner_id, t.team_id)
     order by t.priority desc, t.due_at, t.id limit $4
) t join customer c on c.id = t.customer_id order by t.priority desc, t.due_at, t.id) p

-- name: scheduled_tasks :one
{{due_page}}
    select {{item}} from call_task t
     where t.state = 'SCHEDULED' and {{later}}
     order by t.due_at, t.id limit $4
{{due_end}}

-- name: blocked_tasks :one
{{due_page}}
    select {{item}} from call_task t
     where t.state = 'BLOCKED' and {{later}}
     order by t.due_at, t.id limit $4
{{due_end}}

-- In anybody's hands: as many as there are operators at work.
-- name: held_tasks :one
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $4::integer then to_char((array_agg(p.due_at))[$4] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$4]::text end) as body
  from (select t.*, c.display_name as customer_display_name, c.flags as customer_flags
          from (select t.id, t.customer_id, t.inquiry_id, t.appointment_id, t.kind, t.state, t.priority, t.due_at, t.note, t.assigned_to, t.lease_expires_at, t.owner_id, t.team_id, t.attempts, t.blocked_reason, t.version
                  from call_task t
                 where t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and within_scope($1::text, $2::uuid, $3::uuid[], t.owner_id, t.team_id)
                   and (t.due_at, t.id) > (coalesce($5::timestamptz, '-infinity'), coalesce($6::uuid, '00000000-0000-0000-0000-000000000000'))
                 order by t.due_at, t.id limit $4) t join customer c on c.id = t.customer_id
         order by t.due_at, t.id) p

-- The caller's own: what they hold, and what is reserved for them. (who, limit, moment, id)
-- name: my_tasks :one
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $2::integer then to_char((array_agg(p.due_at))[$2] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$2]::text end) as body
{{with_customer}}
    select * from (
      (select {{item}} from call_task t
        where t.assigned_to = $1::uuid and t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP')
          and (t.due_at, t.id) > (coalesce($3::timestamptz, '-infinity'), coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')))
      union
      (select {{item}} from call_task t
        where t.owner_id = $1 and t.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED')
          and (t.due_at, t.id) > (coalesce($3::timestamptz, '-infinity'), coalesce($4::uuid, '00000000-0000-0000-0000-000000000000'))
        order by t.due_at, t.id limit $2)) u
     order by u.due_at, u.id limit $2
{{due_end}}

-- Jobs. Each touches a bounded batch and says how many rows it touched.
-- name: promote_due :many
with due as (
  select t.id from call_task t where t.state = 'SCHEDULED' and t.due_at <= now() order by t.due_at, t.id limit 1000 for update skip locked)
update call_task t set state = 'READY' from due where t.id = due.id returning t.id

-- A task whose holder has gone silent goes back into the queue; a call that was going on is ended as ABANDONED, its memo stays open to the operator.
-- name: return_expired_leases :many
with expired as (
  select t.id from call_task t
   where t.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and t.lease_expires_at < now() order by t.lease_expires_at limit 500 for update skip locked),
ended as (
  update call_attempt a set ended_at = now(), outcome = 'ABANDONED' from expired where a.task_id = expired.id and a.ended_at is null returning a.task_id)
update call_task t set state = 'READY', assigned_to = null, lease_expires_at = null, attempts = t.attempts + (select count(*) from ended where ended.task_id = t.id)
  from expired where t.id = expired.id returning t.id

-- An inbound call has no task whose lease could expire.
-- name: abandon_inbound_calls :many
update call_attempt a set ended_at = now(), outcome = 'ABANDONED'
  from open_call o
 where o.task_id is null and o.started_at < now() - (rule_value('inbound_call_seconds') #>> '{}')::integer * interval '1 second'
   and a.id = o.call_attempt_id and a.ended_at is null
returning a.id
