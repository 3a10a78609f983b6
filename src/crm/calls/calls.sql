-- Statements of calls. Rights: (scope text, who uuid, teams uuid[]) as $1, $2, $3. A call is its operator's: `own` is operator_id.

-- First step of a dial: the customer's keys, before any row is locked (a ban takes its locks in that order too).
-- name: lock_task_customer :exec
select lock_contact_keys(t.customer_id, false) from call_task t where t.id = $1::uuid

-- (scope, who, teams, task, call, phone or null, recording notice, operator's team). A phone must be one of the customer's; without it the first one is dialled.
-- name: start_outbound :optional
with task as (
  select t.id, t.customer_id, t.inquiry_id, t.team_id from call_task t
   where t.id = $1::uuid and t.state = 'ASSIGNED' and t.assigned_to = $2::uuid
     and ($4::text is null or exists (select from customer_phone p where p.customer_id = t.customer_id and p.e164 = $4 and p.deleted_at is null))
   for update),
dial as (
  insert into call_attempt (id, direction, customer_id, inquiry_id, task_id, e164, operator_id, team_id, recording_notice)
  select $3::uuid, 'OUTBOUND', task.customer_id, task.inquiry_id, task.id,
         coalesce($4, (select p.e164 from customer_phone p where p.customer_id = task.customer_id and p.e164 is not null and p.deleted_at is null order by p.valid_hint desc, p.position, p.id limit 1)),
         $2, coalesce(task.team_id, $6::uuid), $5::boolean
    from task
  returning *),
talking as (
  update call_task t set state = 'IN_CALL', lease_expires_at = now() + (rule_value('call_lease_seconds') #>> '{}')::integer * interval '1 second'
    from dial where t.id = dial.task_id
  returning t.*)
select answer(201, json_build_object('call', row_to_json(dial), 'call_task', row_to_json(talking)), dial.version::text) as body, dial.version::text as etag from dial, talking

-- Somebody calls in: known, or not yet.
-- name: start_inbound :optional
with ring as (
  insert into call_attempt (id, direction, customer_id, inquiry_id, e164, operator_id, team_id, recording_notice)
  select $1::uuid, 'INBOUND', $3::uuid, $4::uuid, $5::text, $2::uuid, $7::uuid, $6::boolean
   where $4 is null or exists (select from inquiry i where i.id = $4 and i.customer_id = $3)
  returning *)
select answer(201, json_build_object('call', row_to_json(ring), 'call_task', null), version::text) as body, version::text as etag from ring

-- name: open_call :optional pipeline
select o.call_attempt_id as id from open_call o where o.operator_id = $1::uuid

-- Why a dial did not start: (scope, who, teams, task, phone or null).
-- name: look_at_dial :optional pipeline
select t.state, t.assigned_to is not distinct from $2::uuid as mine,
       $5::text is null or exists (select from customer_phone p where p.customer_id = t.customer_id and p.e164 = $5 and p.deleted_at is null) as phone_known,
       (select json_agg(x.to_state order by x.to_state) from transition x where x.entity = 'call_task' and x.from_state = t.state) as allowed, t.assigned_to
  from call_task t
 where t.id = $4::uuid and (within_scope($1::text, $2, $3::uuid[], t.owner_id, t.team_id) or t.assigned_to = $2)

-- Finishing a call is one statement for each family of outcomes, and one transaction: (scope, who, teams, call, outcome, memo, …).

-- The inquiry goes on: (…, next action, its moment, task's kind or null, new task's id, note). Whoever worked on it first owns it from now on.
-- Other open calls of the inquiry give way to the new one.
-- name: finish_with_next :optional
with ended as (
  update call_attempt a set ended_at = now(), outcome = $5::text, memo = $6::text
   where a.id = $4::uuid and a.ended_at is null and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[])) and exists (select from inquiry i where i.id = a.inquiry_id and i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED'))
  returning a.*),
moved as (
  update inquiry i
     set stage = case when i.stage not in ('NEW', 'IN_PROGRESS', 'NURTURING') then i.stage when $7::text = 'NURTURE_CALL' then 'NURTURING' else 'IN_PROGRESS' end,
         next_action = $7, next_action_at = $8::timestamptz, owner_id = coalesce(i.owner_id, ended.operator_id)
    from ended where i.id = ended.inquiry_id
  returning i.*),
closed as (
  update call_task t set state = case when $9::text is null then 'DONE' else 'RESCHEDULED' end, assigned_to = null, lease_expires_at = null, attempts = t.attempts + 1
    from ended where t.id = ended.task_id and t.state in ('IN_CALL', 'WRAP_UP')
  returning t.*),
superseded as (
  update call_task t set state = 'CANCELLED'
    from ended where t.inquiry_id = ended.inquiry_id and t.id is distinct from ended.task_id and t.state in ('SCHEDULED', 'READY', 'BLOCKED')
     and $9 is not null and (t.kind = 'PRE_VISIT') = ($9 = 'PRE_VISIT')
  returning t.id),
spawned as (
  insert into call_task (id, customer_id, inquiry_id, appointment_id, kind, state, priority, due_at, note, owner_id, team_id, previous_task_id)
  select $10::uuid, moved.customer_id, moved.id, closed.appointment_id, $9, case when $8 <= now() then 'READY' else 'SCHEDULED' end, task_priority($9, moved.media_source_id), $8,
         coalesce($11::text, ''), closed.owner_id, moved.team_id, closed.id
    from moved left join closed on true
   where $9 is not null and (select count(*) from superseded) >= 0
  returning *)
select answer(200, json_build_object('call', (select row_to_json(x) from ended x), 'call_task', (select row_to_json(x) from closed x), 'inquiry', (select row_to_json(x) from moved x),
         'next_task', (select row_to_json(x) from spawned x), 'appointment', null, 'solicitation_ban', null), ended.version::text) as body, ended.version::text as etag from ended

-- The inquiry ends: (…, LOST or INVALID, reason). Its trigger cancels what was open for it.
-- name: finish_ending :optional
with ended as (
  update call_attempt a set ended_at = now(), outcome = $5::text, memo = $6::text
   where a.id = $4::uuid and a.ended_at is null and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[])) and exists (select from inquiry i where i.id = a.inquiry_id and i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED'))
  returning a.*),
moved as (
  update inquiry i
     set stage = $7::text, lost_reason = case when $7 = 'LOST' then $8::text end, invalid_reason = case when $7 = 'INVALID' then $8 end,
         next_action = 'NONE', next_action_at = null, owner_id = coalesce(i.owner_id, ended.operator_id)
    from ended where i.id = ended.inquiry_id
  returning i.*),
closed as (
  update call_task t set state = 'DONE', assigned_to = null, lease_expires_at = null, attempts = t.attempts + 1
    from ended where t.id = ended.task_id and t.state in ('IN_CALL', 'WRAP_UP')
  returning t.*)
select answer(200, json_build_object('call', (select row_to_json(x) from ended x), 'call_task', (select row_to_json(x) from closed x), 'inquiry', (select row_to_json(x) from moved x),
         'next_task', null, 'appointment', null, 'solicitation_ban', null), ended.version::text) as body, ended.version::text as etag from ended

-- First step of a refusal: the keys of its ban, before any row is locked, as for a dial.
-- name: lock_refused :exec
select lock_contact_keys(a.customer_id, true, a.e164) from call_attempt a where a.id = $1::uuid and a.customer_id is not null

-- The customer does not want to be asked again: the ban, in the same transaction, and the inquiry is lost: (…, reason, ban's id).
-- name: finish_refused :optional
with ended as (
  update call_attempt a set ended_at = now(), outcome = $5::text, memo = $6::text
   where a.id = $4::uuid and a.ended_at is null and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[])) and a.customer_id is not null
  returning a.*),
closed as (
  update call_task t set state = 'DONE', assigned_to = null, lease_expires_at = null, attempts = t.attempts + 1
    from ended where t.id = ended.task_id and t.state in ('IN_CALL', 'WRAP_UP')
  returning t.*),
banned as (
  insert into solicitation_ban (id, customer_id, reason, source, call_attempt_id, inquiry_id)
  select $8::uuid, ended.customer_id, $7::text, 'REFUSED', ended.id, ended.inquiry_id from ended
  returning *),
moved as (
  update inquiry i
     set stage = case when i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED') then 'LOST' else i.stage end,
         lost_reason = case when i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED') then left($7, 200) else i.lost_reason end,
         next_action = 'NONE', next_action_at = null, owner_id = coalesce(i.owner_id, ended.operator_id)
    from ended where i.id = ended.inquiry_id
  returning i.*)
select answer(200, json_build_object('call', (select row_to_json(x) from ended x), 'call_task', (select row_to_json(x) from closed x), 'inquiry', (select row_to_json(x) from moved x),
         'next_task', null, 'appointment', null, 'solicitation_ban', (select row_to_json(x) from banned x)), ended.version::text) as body, ended.version::text as etag from ended

-- A visit is agreed on. First the customer's words, when they were not written down before the call ended:
-- (call, who, request's id, scope, categories, verbatim, disclosed, willingness confirmed, scope of rights, teams). The operator is whoever called.
-- name: record_request :exec
insert into solicitation_request (id, customer_id, inquiry_id, scope, category_ids, call_attempt_id, operator_id, verbatim, disclosed_at, willingness_confirmed_at)
select $3::uuid, a.customer_id, a.inquiry_id, $4::text, $5::uuid[], a.id, a.operator_id, $6::text, case when $7::boolean then now() end, case when $8::boolean then now() end
  from call_attempt a where a.id = $1::uuid and a.ended_at is null and a.inquiry_id is not null
   and (a.operator_id = $2::uuid or $9::text = 'all' or $9 = 'team' and a.team_id = any ($10::uuid[]))

-- Books a HELD appointment (visits' own function: the inquiry is APPOINTED, the call before the visit is planned) or takes one that is booked
-- already: (…, appointment, request or null). The answer is a step of its own, for it reads what the function wrote.
-- name: finish_appointed :exec
with ended as (
  update call_attempt a set ended_at = now(), outcome = $5::text, memo = $6::text
   where a.id = $4::uuid and a.ended_at is null and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[]))
     and exists (select from appointment p where p.id = $7::uuid and p.inquiry_id = a.inquiry_id and p.state in ('HELD', 'BOOKED', 'CONFIRMED'))
  returning a.*),
closed as (
  update call_task t set state = 'DONE', assigned_to = null, lease_expires_at = null, attempts = t.attempts + 1
    from ended where t.id = ended.task_id and t.state in ('IN_CALL', 'WRAP_UP'))
select b.id from ended join appointment p on p.id = $7 and p.state = 'HELD' cross join lateral book_held_appointment(p.id, null, $8::uuid, null, 'all', $2, $3) b

-- name: own_inquiry :exec
update inquiry i set owner_id = a.operator_id from call_attempt a
 where a.id = $1::uuid and a.ended_at = now() and i.id = a.inquiry_id and i.owner_id is null

-- Nothing, unless the steps before it have ended the call: now() is the transaction's.
-- name: answer_appointed :optional
with done as (
  select a.version, json_build_object('call', row_to_json(a), 'call_task', (select row_to_json(t) from call_task t where t.id = a.task_id), 'inquiry', (select row_to_json(i) from inquiry i where i.id = a.inquiry_id),
           'next_task', (select row_to_json(t) from call_task t where t.appointment_id = p.id and t.kind = 'PRE_VISIT' and t.state in ('SCHEDULED', 'READY') limit 1),
           'appointment', row_to_json(p), 'solicitation_ban', null) as body
    from call_attempt a join appointment p on p.id = $2::uuid
   where a.id = $1::uuid and a.ended_at = now())
select answer(200, body, version::text) as body, version::text as etag from done

-- Nothing to go on with: the call has no inquiry, or one that has ended.
-- name: finish_bare :optional
with ended as (
  update call_attempt a set ended_at = now(), outcome = $5::text, memo = $6::text
   where a.id = $4::uuid and a.ended_at is null and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[]))
     and not exists (select from inquiry i where i.id = a.inquiry_id and i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED'))
  returning a.*),
closed as (
  update call_task t set state = 'DONE', assigned_to = null, lease_expires_at = null, attempts = t.attempts + 1
    from ended where t.id = ended.task_id and t.state in ('IN_CALL', 'WRAP_UP')
  returning t.*),
moved as (select i.* from ended join inquiry i on i.id = ended.inquiry_id)
select answer(200, json_build_object('call', (select row_to_json(x) from ended x), 'call_task', (select row_to_json(x) from closed x), 'inquiry', (select row_to_json(x) from moved x),
         'next_task', null, 'appointment', null, 'solicitation_ban', null), ended.version::text) as body, ended.version::text as etag from ended

-- Why a call could not be finished: (scope, who, teams, call, appointment or null).
-- name: look_at_call :optional pipeline
select a.version, a.ended_at is not null as ended, a.outcome, a.inquiry_id, a.customer_id, i.stage, p.state as appointment_state,
       (select json_agg(x.to_state order by x.to_state) from transition x where x.entity = 'inquiry' and x.from_state = i.stage) as allowed
  from call_attempt a left join inquiry i on i.id = a.inquiry_id left join appointment p on p.id = $5::uuid and p.inquiry_id = a.inquiry_id
 where a.id = $4::uuid and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[]))

-- name: get_call :optional pipeline
select row_to_json(a) as body, a.version::text as etag from call_attempt a where a.id = $4::uuid and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[]))

-- The memo of any call; who called, as long as nobody is known: ($6 jsonb of changes).
-- name: update_call :optional
with changed as (
  update call_attempt a
     set memo = case when $6::jsonb ? 'memo' then $6 ->> 'memo' else a.memo end,
         customer_id = coalesce(a.customer_id, ($6 ->> 'customer_id')::uuid),
         inquiry_id = coalesce(a.inquiry_id, ($6 ->> 'inquiry_id')::uuid),
         recording_ref = case when $6 ? 'recording_ref' then $6 ->> 'recording_ref' else a.recording_ref end,
         recording_retain_until = case when $6 ? 'recording_retain_until' then ($6 ->> 'recording_retain_until')::date else a.recording_retain_until end,
         recording_notice = case when $6 ? 'recording_notice' then ($6 ->> 'recording_notice')::boolean else a.recording_notice end
   where a.id = $4::uuid and a.version = $5::integer and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[]))
     and (a.customer_id is null or not $6 ? 'customer_id' or a.customer_id = ($6 ->> 'customer_id')::uuid)
     and (a.inquiry_id is null or not $6 ? 'inquiry_id' or a.inquiry_id = ($6 ->> 'inquiry_id')::uuid)
     and (not $6 ? 'inquiry_id' or exists (select from inquiry i where i.id = ($6 ->> 'inquiry_id')::uuid and i.customer_id = coalesce(a.customer_id, ($6 ->> 'customer_id')::uuid)))
  returning a.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- Lists, latest first: (limit, moment, id, …).
-- piece: item
a.id, a.direction, a.customer_id, a.inquiry_id, a.task_id, a.e164, a.operator_id, a.team_id, a.started_at, a.talk_ended_at, a.ended_at, a.outcome, a.memo, a.recording_ref, a.recording_retain_until, a.recording_notice, a.version, a.created_at, a.updated_at
-- piece: older
(a.started_at, a.id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
-- piece: page
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $1::integer then to_char((array_agg(p.started_at))[$1] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$1]::text end) as body
  from (select a.*, c.display_name as customer_display_name
          from (
-- piece: end
       ) a left join customer c on c.id = a.customer_id
         order by a.started_at desc, a.id desc) p

-- name: all_calls :one
{{page}}
    select {{item}} from call_attempt a where {{older}}
     order by a.started_at desc, a.id desc limit $1
{{end}}

-- name: calls_of_operator :one
{{page}}
    select {{item}} from call_attempt a where a.operator_id = $4::uuid and {{older}}
     order by a.started_at desc, a.id desc limit $1
{{end}}

-- (…, customer, scope, who, teams)
-- name: calls_of_customer :one
{{page}}
    select {{item}} from call_attempt a
     where a.customer_id = $4::uuid and ($5::text = 'all' or a.operator_id = $6::uuid or $5 = 'team' and a.team_id = any ($7::uuid[])) and {{older}}
     order by a.started_at desc, a.id desc limit $1
{{end}}

-- name: calls_of_teams :one
{{page}}
    select x.* from unnest($4::uuid[]) as mine(team) cross join lateral (
      select {{item}} from call_attempt a
       where a.team_id = mine.team and ($5::uuid is null or a.operator_id = $5) and {{older}}
       order by a.started_at desc, a.id desc limit $1) x
     order by x.started_at desc, x.id desc limit $1
{{end}}

