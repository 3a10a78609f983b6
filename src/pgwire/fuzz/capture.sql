-- How the corpus was made: what PostgreSQL's own pgoutput says about every kind of change, one file a scenario.
--   psql -v ON_ERROR_STOP=1 -qAtX -v out=corpus/pgoutput -f capture.sql DATABASE     (wal_level=logical, logical_decoding_work_mem=64kB)
--   for f in corpus/pgoutput/*; do xxd -r -p $f $f.bin && mv $f.bin $f; done
-- The cluster is to be thrown away afterwards. A file is the protocol version in one byte, then each message after its length in two bytes.
create type mood as enum ('calm', 'busy');
create table item (id int primary key, name text not null, mood mood, note text);
create table by_index (a int not null, b int not null, c text, unique (a, b));
alter table by_index replica identity using index by_index_a_b_key;
create table whole (a int, b text);
alter table whole replica identity full;
create table keyless (a int);
create table parted (id int, at date, primary key (id, at)) partition by range (at);
create table parted_1 partition of parted for values from ('2020-01-01') to ('2021-01-01');
create table "Odd ""name""" (id int primary key, "Ünï" text);
create table lump (id int primary key, body text, n int);
alter table lump alter body set storage external;
create publication everything for all tables with (publish_via_partition_root = false);
create publication narrow for table item (id, name);

create function captured(version int, streaming text, publications text, options text[]) returns text language sql as $$
  select lpad(to_hex(version), 2, '0') || coalesce(string_agg(lpad(to_hex(length(data)), 4, '0') || encode(data, 'hex'), '' order by n), '')
  from pg_logical_slot_get_binary_changes('capture', null, null, variadic
    array['proto_version', version::text, 'publication_names', publications] || case when streaming = 'on' then array['streaming', 'on'] else '{}' end || options)
    with ordinality as changes (lsn, xid, data, n)
  where length(data) < 65536
$$;
select 1 from pg_create_logical_replication_slot('capture', 'pgoutput') \g /dev/null
begin; insert into item values (1, 'one', 'calm', null), (2, '二', null, ''); commit;
update item set name = 'uno' where id = 1;
update item set id = 3 where id = 2;
delete from item where id = 3;
select captured(1, 'off', 'everything', '{}') \g :out/rows-primary-key
insert into by_index values (1, 1, 'x'); update by_index set c = 'y'; update by_index set b = 2; delete from by_index;
insert into whole values (1, null); update whole set b = 'z'; delete from whole;
insert into keyless values (7);
insert into parted values (1, '2020-05-05'); insert into "Odd ""name""" values (1, 'ü');
select captured(1, 'off', 'everything', '{}') \g :out/rows-other-identities
insert into lump values (1, repeat('0123456789', 300), 1); update lump set n = 2; delete from lump;
select captured(1, 'off', 'everything', '{}') \g :out/toast
alter table item add extra numeric(10,2); insert into item values (4, 'four', 'busy', 'n', 1.50); alter table item drop note; update item set extra = 'NaN';
select captured(1, 'off', 'everything', '{}') \g :out/relation-changes
truncate item, whole restart identity cascade; truncate parted;
select captured(1, 'off', 'everything', '{}') \g :out/truncate
select 1 from pg_logical_emit_message(false, 'enishi', E'\\x00ff'::bytea) \g /dev/null
select 1 from pg_logical_emit_message(true, 'enishi', 'inside') \g /dev/null
select captured(1, 'off', 'everything', '{messages,on}') \g :out/logical-messages
select 1 from pg_replication_origin_create('elsewhere') \g /dev/null
select 1 from pg_replication_origin_session_setup('elsewhere') \g /dev/null
begin; select 1 from pg_replication_origin_xact_setup('0/ABCDEF', '2026-01-01 00:00:00+00') \g /dev/null
insert into item values (5, 'five'); commit;
select 1 from pg_replication_origin_session_reset() \g /dev/null
select captured(1, 'off', 'everything', '{}') \g :out/origin
insert into item values (6, 'six', 'calm', 1); update item set mood = 'busy' where id = 6;
select captured(1, 'off', 'narrow', '{}') \g :out/column-list
insert into item values (8, 'acht', 'calm', 2.5); insert into whole values (1, 'b');
select captured(1, 'off', 'everything', '{binary,on}') \g :out/binary
begin; insert into by_index select i, i, null from generate_series(1, 400) i; savepoint s; insert into by_index select i, i, null from generate_series(401, 900) i;
rollback to s; insert into item values (9, 'neun', 'calm', 3); update by_index set b = 0 where a < 3; delete from by_index where a > 398; commit;
select captured(2, 'on', 'everything', '{}') \g :out/streamed-with-abort
begin; insert into by_index select i, i, null from generate_series(1000, 1500) i; rollback; begin; truncate whole; insert into by_index select i, i, null from generate_series(2000, 2400) i;
select 1 from pg_logical_emit_message(true, 'p', 'streamed') \g /dev/null
 alter table whole add d int; insert into whole values (1, 'x', 2); insert into by_index select i, i, null from generate_series(2401, 2800) i; commit;
select captured(2, 'on', 'everything', '{messages,on}') \g :out/streamed-abort-and-commit
select 1 from pg_drop_replication_slot('capture') \g /dev/null
