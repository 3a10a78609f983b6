-- The CHECK constraints of the tables that every call writes to, kept by a trigger each (docs/adr/0010-checks-by-a-trigger.md).

-- Moves a table's CHECK constraints into a trigger function, conditions and names unchanged: PostgreSQL parses and plans the stored form of a
-- constraint anew for each statement, a tenth of what the end of a call costs; PL/pgSQL keeps the plan. Each column that a condition names is a
-- local variable of that name. A later migration that adds a CHECK to one of these tables adds it to the function, or leaves it a constraint.
create function checks_by_trigger(target regclass) returns void language plpgsql as $$
declare
  keeper text := 'checks_of_' || target::text;
  columns text;
  conditions text;
  names text;
begin
  select string_agg(format('  %I %s := new.%1$I;', a.attname, format_type(a.atttypid, a.atttypmod)), E'\n' order by a.attnum) into columns
    from pg_attribute a where a.attrelid = target and exists (select from pg_constraint c where c.conrelid = target and c.contype = 'c' and a.attnum = any (c.conkey));
  select string_agg('(' || pg_get_expr(c.conbin, target) || ')', E'\n     and ' order by c.conname),
         string_agg(format('    when (%s) is false then %L', pg_get_expr(c.conbin, target), c.conname), E'\n' order by c.conname)
    into conditions, names from pg_constraint c where c.conrelid = target and c.contype = 'c';
  execute format(E'create function %I() returns trigger language plpgsql as $f$\ndeclare\n%s\n  broken text;\nbegin\n  if (%s) is not false then return new; end if;\n'
                 || E'  broken := case\n%s end;\n'
                 || E'  raise exception using errcode = ''check_violation'', schema = tg_table_schema, table = tg_table_name, constraint = broken,\n'
                 || E'    message = format(''new row for relation "%%s" violates check constraint "%%s"'', tg_table_name, broken);\nend $f$', keeper, columns, conditions, names);
  -- The last of the triggers before a write, for the others may change the row.
  execute format('create trigger x_checks before insert or update on %s for each row execute function %I()', target, keeper);
  execute (select format('alter table %s ', target) || string_agg(format('drop constraint %I', c.conname), ', ') from pg_constraint c where c.conrelid = target and c.contype = 'c');
end $$;
revoke execute on function checks_by_trigger(regclass) from enishi_app, enishi_read;
select checks_by_trigger(t::regclass) from unnest(array['inquiry', 'call_task', 'call_attempt']) t;
