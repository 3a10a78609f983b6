-- Everything that a takeover has to be told about before it begins, in one small database.
create table customers (
  id integer primary key,
  name text not null,
  born date,
  rating double precision,
  balance numeric,
  seen_at timestamp,
  picture oid,
  extra jsonb,
  forgotten text
);
insert into customers values
  (1, 'plain', '1950-04-01', 1.5, 10, '2026-01-01 10:00', null, null, null),
  (2, 'born before Christ', '0044-03-15 BC', 1, 1, '2026-01-01 10:00', null, null, null),
  (3, 'no number', '1950-04-01', 'NaN', 'NaN', 'infinity', null, null, null),
  (4, 'endless', 'infinity', '-infinity', 1, '-infinity', lo_from_bytea(0, 'picture'), '{"a": 1}', 'x');

create table phones (customer_id integer, number text);                          -- no key: a publication would make UPDATE and DELETE fail here
insert into phones values (1, '090-1111-2222'), (99, '090-3333-4444');           -- and 99 is nobody

create table addresses (id integer primary key, customer_id integer not null, text text);
alter table addresses replica identity nothing;                                  -- told to keep quiet
insert into addresses values (1, 1, '東京都'), (2, 77, '大阪府');                  -- 77 is nobody

create unlogged table notes (id integer primary key, customer_id integer, text text);  -- never in the WAL
create table secret (id integer primary key, customer_id integer);               -- that nobody lets us read

create table orders (id integer primary key, customer_id integer not null references customers, text text);  -- hangs on a customer, and no mapping knows it
insert into orders values (1, 1, 'a lamp');
