-- Who may use the operations on users, roles, teams, sessions and tokens; what must not happen to them.

-- Whoever is logged in may do these, with any role or none (Traits::everybody); the rows are for the contract's x-roles.
select grant_operation(operation, 'operator:own supervisor:own marketing:own compliance:own appraiser:own admin:own')
from unnest(array['get_session', 'log_out', 'change_password']) operation;

select grant_operation('list_users', 'supervisor:team admin:all');
select grant_operation('create_user', 'admin:all');
select grant_operation('get_user', 'operator:own supervisor:team marketing:own compliance:own appraiser:own admin:all');
select grant_operation('update_user', 'admin:all');
select grant_operation('create_one_time_link', 'admin:all');
select grant_operation('list_user_sessions', 'operator:own supervisor:team marketing:own compliance:own appraiser:own admin:all');
select grant_operation('revoke_session', 'operator:own supervisor:own marketing:own compliance:own appraiser:own admin:all');
select grant_operation('list_roles', 'supervisor:all admin:all');
select grant_operation('set_role_permissions', 'admin:all');
select grant_operation('list_api_tokens', 'operator:own supervisor:own marketing:own compliance:own appraiser:own admin:all');
select grant_operation('create_api_token', 'operator:own supervisor:own marketing:own compliance:own appraiser:own admin:all');
select grant_operation('revoke_api_token', 'operator:own supervisor:own marketing:own compliance:own appraiser:own admin:all');
select grant_operation('list_teams', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('get_team', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('create_team', 'admin:all');
select grant_operation('update_team', 'admin:all');

-- Somebody who can put rights and users right must stay. The lock makes two administrators who remove each other take turns.
create function keep_an_administrator() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(1162760522, 1);
  if exists (select from public.app_user u where u.active and u.deleted_at is null) and not exists (
    select from public.app_user u where u.active and u.deleted_at is null and 2 = (
      select count(distinct p.operation) from public.user_role r join public.role_permission p on p.role = r.role
      where r.user_id = u.id and p.operation in ('set_role_permissions', 'update_user') and p.scope = 'all')) then
    perform public.refuse('409', 'LAST_ADMINISTRATOR',
      'This would leave nobody who can change rights and users; give them to another active user first.');
  end if;
  return null;
end $$;
create trigger y_keep_an_administrator after update of active, deleted_at on app_user for each statement execute function keep_an_administrator();
create trigger y_keep_an_administrator after delete or update on user_role for each statement execute function keep_an_administrator();
create trigger y_keep_an_administrator after delete or update on role_permission for each statement execute function keep_an_administrator();

create function team_has_no_cycle() returns trigger language plpgsql as $$
begin
  if new.parent_id is not null and (new.parent_id = new.id or new.parent_id = any (public.team_subtree(new.id))) then
    perform public.refuse('422', 'TEAM_CYCLE', 'A team cannot lie below itself.', jsonb_build_object('parent_id', new.parent_id));
  end if;
  return new;
end $$;
create trigger c_cycle before insert or update of parent_id on team for each row execute function team_has_no_cycle();
