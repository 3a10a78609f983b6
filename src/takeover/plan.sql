-- What a plan asks the source. Everything is readable by a login without special rights.

-- name: server :one
-- ($1: the slot that will be ours)
select current_setting('server_version_num')::integer, current_setting('wal_level'), current_setting('server_encoding'),
       (select r.rolreplication or r.rolsuper from pg_roles r where r.rolname = current_user),
       current_setting('max_replication_slots')::integer, (select count(*) from pg_replication_slots s where s.slot_name <> $1), current_setting('max_wal_senders')::integer,
       coalesce((select x.setting::bigint * 1048576 from pg_settings x where x.name = 'max_slot_wal_keep_size'), -1), current_user, current_database(), pg_is_in_recovery(),
       (select count(*) from pg_stat_get_wal_senders()), (select r.rolconnlimit from pg_roles r where r.rolname = current_user),
       case when current_setting('cloudsql.logical_decoding', true) is not null then 'cloudsql'
            when current_setting('alloydb.logical_decoding', true) is not null then 'alloydb' else '' end,
       (select count(*) from pg_largeobject_metadata)

-- name: tables :many
select t.name, c.oid::bigint, c.relkind, c.relreplident, greatest(c.reltuples, 0)::bigint, has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'),
       pg_get_userbyid(c.relowner), exists (select from pg_index i where i.indrelid = c.oid and (i.indisprimary and c.relreplident = 'd' or i.indisreplident)),
       (select string_agg(g.tgname, ', ' order by g.tgname) from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal and g.tgname not like 'a\_enishi\_fence\_%'), c.relpersistence,
       exists (select from pg_policy p where p.polrelid = c.oid)
  from unnest($1::text[]) t(name)
  join pg_namespace n on n.nspname = split_part(t.name, '.', 1)
  join pg_class c on c.relnamespace = n.oid and c.relname = substr(t.name, strpos(t.name, '.') + 1)

-- name: published :many
-- Tables of the publication, and whether it tells of everything.
select p.puballtables, p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate, p.pubviaroot, t.schemaname || '.' || t.tablename
  from pg_publication p left join pg_publication_tables t on t.pubname = p.pubname where p.pubname = $1

-- name: applied :one
select coalesce((select has_table_privilege(to_regclass('enishi.applied'), 'insert') from pg_namespace n where n.nspname = 'enishi' and has_schema_privilege(n.oid, 'usage')
                    and to_regclass('enishi.applied') is not null), false)

-- name: fenced :one
-- (domain, root table): whether the fence stands ready on the root, and its functions may be called
select coalesce((select has_function_privilege(p.oid, 'execute') from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                  where n.nspname = 'enishi' and p.proname = 'raise_fence' and has_schema_privilege(n.oid, 'usage') limit 1), false)
   and exists (select from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace
                where g.tgname = 'a_enishi_fence_' || $1 and n.nspname = split_part($2, '.', 1) and c.relname = substr($2, strpos($2, '.') + 1))

-- name: touched :many
-- (schemas, '' is any of $3; names; schemas to look in): what there is of these names, what the login may do with it, the sequences of its columns'
-- defaults, and the texts of the trigger functions that run with the writer's rights.
select n.nspname, c.relname, c.relkind, has_schema_privilege(n.oid, 'usage'),
       case when c.relkind = 'S' then '' else concat(case when has_table_privilege(c.oid, 'select') then 's' end, case when has_table_privilege(c.oid, 'insert') then 'i' end,
            case when has_table_privilege(c.oid, 'update') then 'u' end, case when has_table_privilege(c.oid, 'delete') then 'd' end) end,
       case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'usage') else false end, t.n - 1,
       (select string_agg(sn.nspname || '.' || s.relname, E'\n') from pg_attrdef d join pg_depend x on x.classid = 'pg_attrdef'::regclass and x.objid = d.oid and x.refclassid = 'pg_class'::regclass
               join pg_class s on s.oid = x.refobjid and s.relkind = 'S' join pg_namespace sn on sn.oid = s.relnamespace where d.adrelid = c.oid),
       (select string_agg(p.prosrc, E';\n') from pg_trigger g join pg_proc p on p.oid = g.tgfoid where g.tgrelid = c.oid and not g.tgisinternal and not p.prosecdef and g.tgname not like 'a\_enishi\_fence\_%')
  from unnest($1::text[], $2::text[]) with ordinality t(schema, name, n)
  join pg_class c on c.relname = t.name and c.relkind in ('r', 'p', 'v', 'S')
  join pg_namespace n on n.oid = c.relnamespace and (n.nspname = t.schema or t.schema = '' and n.nspname = any ($3::text[]))

-- name: children :many
-- Tables with a foreign key to this one: name, their columns, what they refer to.
select n.nspname || '.' || c.relname, (select array_to_string(array_agg(a.attname order by k.n), ',') from unnest(f.conkey) with ordinality k(attnum, n)
                                         join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum)
  from pg_constraint f join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
 where f.contype = 'f' and f.confrelid = to_regclass($1) and f.conparentid = 0 and f.conrelid <> f.confrelid order by 1
