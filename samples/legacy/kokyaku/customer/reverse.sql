-- Written so that forward.sql reads the same record again: what 顧客管理 has no column for goes into its spare ones (yobi1, yobi2).
insert into m_kokyaku as k (kokyaku_no, shimei, shimei_kana, seinengappi, kokyaku_kbn, dm_fuka, email, biko, yobi1, yobi2, del_flg)
select coalesce($1::integer, nextval('kokyaku_no_seq')::integer), $2 ->> 'display_name', nullif($2 ->> 'kana', ''), to_char(($2 ->> 'birth_date')::date, 'YYYYMMDD'),
       case when $2 -> 'flags' ? 'COMPLAINT' then 4 when $2 -> 'flags' ? 'CAUTION' then 3 when $2 -> 'flags' ? 'VIP' then 2 else 1 end,
       case when $2 -> 'flags' ? 'NO_MAIL' then 1 else 0 end,
       (select string_agg(e.v ->> 'email', ',' order by e.n) from jsonb_array_elements($2 -> 'emails') with ordinality e(v, n)),
       nullif($2 ->> 'notes', ''),
       (select string_agg(f.flag, ',' order by f.flag) from jsonb_array_elements_text($2 -> 'flags') f(flag)
         where f.flag <> 'NO_MAIL' and f.flag <> case when $2 -> 'flags' ? 'COMPLAINT' then 'COMPLAINT' when $2 -> 'flags' ? 'CAUTION' then 'CAUTION' when $2 -> 'flags' ? 'VIP' then 'VIP' else '' end),
       nullif($2 -> 'custom', '{}')::text,
       case when ($2 ->> 'deleted')::boolean then '1' else '0' end
on conflict (kokyaku_no) do update
   set shimei = excluded.shimei, shimei_kana = excluded.shimei_kana, kokyaku_kbn = excluded.kokyaku_kbn, dm_fuka = excluded.dm_fuka, email = excluded.email,
       biko = excluded.biko, yobi1 = excluded.yobi1, yobi2 = excluded.yobi2, del_flg = excluded.del_flg,
       -- What was no date stays as it is while there is no date of birth.
       seinengappi = case when excluded.seinengappi is null and k.seinengappi !~ '^[12][0-9]{3}(0[1-9]|1[0-2])' then k.seinengappi else excluded.seinengappi end;

delete from t_tel t
 where t.kokyaku_no = (select coalesce($1::integer, currval('kokyaku_no_seq')::integer))
   and not exists (select from jsonb_array_elements($2 -> 'phones') p(v) where split_part(p.v ->> 'key', '-', 1) = t.tel_id::text);

-- Numbers that came out of one cell go back into it while they stand together; what was parted gets a row of its own.
with number as (
  select p.n, p.v ->> 'raw' as raw, coalesce(p.v ->> 'note', '') as note, case when p.v ->> 'key' ~ '^[0-9]+(-[0-9]+)?$' then split_part(p.v ->> 'key', '-', 1) end as cell
    from jsonb_array_elements($2 -> 'phones') with ordinality p(v, n)),
step as (
  select number.*, case when cell = lag(cell) over (order by n) and note = lag(note) over (order by n) then 0 else 1 end as fresh from number),
run as (select step.*, sum(fresh) over (order by n) as g from step),
cell as (
  select min(n) as n, min(cell) as cell, array_agg(raw order by n) as raws, string_agg(raw, ' / ' order by n) as tel_no, min(note) as note from run group by g),
place as (
  select cell.*, t.tel_id, t.tel_no as was from cell
    left join t_tel t on t.tel_id::text = cell.cell and t.kokyaku_no = (select coalesce($1::integer, currval('kokyaku_no_seq')::integer))
         and not exists (select from cell earlier where earlier.cell = cell.cell and earlier.n < cell.n)),
kept as (
  update t_tel t
     set tel_no = case when (select array_agg(trim(x) order by i) from unnest(regexp_split_to_array(p.was, '[/／、,]')) with ordinality u(x, i) where trim(x) <> '') = p.raws then p.was else p.tel_no end,
         hyoji_jun = p.n, biko = nullif(p.note, '')
    from place p where t.tel_id = p.tel_id)
insert into t_tel (kokyaku_no, tel_no, hyoji_jun, biko)
select coalesce($1::integer, currval('kokyaku_no_seq')::integer), p.tel_no, p.n, nullif(p.note, '') from place p where p.tel_id is null order by p.n;

-- Addresses are in the order of eda_no: from the first that is new or out of order on, they get fresh ones. Those that are gone are marked.
with wanted as (
  select a.n, a.v, case when a.v ->> 'key' ~ '^[0-9]+$' then (a.v ->> 'key')::integer end as eda_no from jsonb_array_elements($2 -> 'addresses') with ordinality a(v, n)),
here as (
  select w.*, exists (select from t_jusho j where j.kokyaku_no = (select coalesce($1::integer, currval('kokyaku_no_seq')::integer)) and j.eda_no = w.eda_no)
              and w.eda_no > coalesce(max(w.eda_no) over (order by w.n rows between unbounded preceding and 1 preceding), -1) as fits from wanted w),
kept as (select here.*, bool_and(fits) over (order by n) as stays from here),
gone as (
  update t_jusho j set del_flg = '1'
   where j.kokyaku_no = (select coalesce($1::integer, currval('kokyaku_no_seq')::integer)) and j.del_flg = '0'
     and not exists (select from kept x where x.stays and x.eda_no = j.eda_no)),
text as (
  select x.n, x.stays, x.eda_no, x.v ->> 'postal_code' as postal_code, nullif(x.v ->> 'building', '') as jusho3, nullif(x.v ->> 'note', '') as biko,
         case when coalesce(substring(x.v ->> 'prefecture' || (x.v ->> 'city') from '^(東京都|北海道|京都府|大阪府|.{2,3}県)'), '') = x.v ->> 'prefecture'
               and x.v ->> 'prefecture' || (x.v ->> 'city') not like '%　%' then '' else '　' end as gap1,
         case when substring(x.v ->> 'town' || (x.v ->> 'street') from '^[^0-9０-９]*') = x.v ->> 'town' and x.v ->> 'town' || (x.v ->> 'street') not like '%　%' then '' else '　' end as gap2,
         x.v ->> 'prefecture' as prefecture, x.v ->> 'city' as city, x.v ->> 'town' as town, x.v ->> 'street' as street
    from kept x),
changed as (
  update t_jusho j
     set yubin_no = case when replace(trim(j.yubin_no), '-', '') = x.postal_code then j.yubin_no else left(x.postal_code, 3) || '-' || substr(x.postal_code, 4) end,
         jusho1 = x.prefecture || x.gap1 || x.city, jusho2 = x.town || x.gap2 || x.street, jusho3 = x.jusho3, biko = x.biko, del_flg = '0'
    from text x where x.stays and j.kokyaku_no = (select coalesce($1::integer, currval('kokyaku_no_seq')::integer)) and j.eda_no = x.eda_no)
insert into t_jusho (kokyaku_no, eda_no, yubin_no, jusho1, jusho2, jusho3, biko)
select coalesce($1::integer, currval('kokyaku_no_seq')::integer),
       (select coalesce(max(j.eda_no), 0) from t_jusho j where j.kokyaku_no = (select coalesce($1::integer, currval('kokyaku_no_seq')::integer))) + row_number() over (order by x.n),
       left(x.postal_code, 3) || '-' || substr(x.postal_code, 4), x.prefecture || x.gap1 || x.city, x.town || x.gap2 || x.street, x.jusho3, x.biko
  from text x where not x.stays order by x.n;

select coalesce($1::integer, currval('kokyaku_no_seq')::integer)::text
