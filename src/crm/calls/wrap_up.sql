-- (scope, who, teams, call): the customer has hung up. The lease goes on as long as a call's, for writing takes time too.
-- name: wrap_up_call :optional
with hung as (
  update call_attempt a set talk_ended_at = now()
   where a.id = $4::uuid and a.ended_at is null and a.talk_ended_at is null
     and (a.operator_id = $2::uuid or $1::text = 'all' or $1 = 'team' and a.team_id = any ($3::uuid[]))
  returning a.*),
wrapping as (
  update call_task t set state = 'WRAP_UP', lease_expires_at = now() + (rule_value('call_lease_seconds') #>> '{}')::integer * interval '1 second'
    from hung where t.id = hung.task_id and t.state = 'IN_CALL'
  returning t.*)
select answer(200, json_build_object('call', row_to_json(hung), 'call_task', (select row_to_json(wrapping) from wrapping)), hung.version::text) as body,
       hung.version::text as etag
  from hung
