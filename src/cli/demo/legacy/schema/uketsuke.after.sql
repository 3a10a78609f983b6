alter table m_baitai add primary key (baitai_cd);
insert into m_baitai values ('WEB', '自社サイト', 1, '0'), ('KEN', '検索広告', 2, '0'), ('CHI', '折込チラシ', 3, '0'), ('TV ', 'テレビCM', 4, '0'),
  ('ZAS', '雑誌広告', 5, '0'), ('SHO', '紹介', 6, '0'), ('OLD', '電話帳', 7, '1');
alter table m_tanto add primary key (tanto_cd);
insert into m_tanto select to_char(n, 'FM0000'), '担当' || n, case when n % 10 = 0 then '査定' else 'インサイドセールス' end, case when n % 17 = 0 then '1' else '0' end
  from generate_series(1, 60) n;
alter table t_hankyo add primary key (hankyo_no);
alter table t_hankyo_meisai add primary key (hankyo_no, gyo_no);
alter table t_apo add primary key (apo_no);
alter table t_taio add primary key (taio_no, taio_ts);
create index t_hankyo_kokyaku on t_hankyo (kokyaku_no);
create index t_apo_hankyo on t_apo (hankyo_no);
create index t_taio_hankyo on t_taio (hankyo_no);
alter table t_hankyo add foreign key (baitai_cd) references m_baitai;
alter table t_hankyo_meisai add foreign key (hankyo_no) references t_hankyo on delete cascade;
alter table t_apo add foreign key (hankyo_no) references t_hankyo;

select setval('hankyo_no_seq', greatest(1, (select max(hankyo_no) from t_hankyo)));
select setval('apo_no_seq', greatest(1, (select max(apo_no) from t_apo)));
select setval('taio_no_seq', greatest(1, (select max(taio_no) from t_taio)));

create function koshin() returns trigger language plpgsql as $$
begin
  new.koshin_ts := localtimestamp;
  return new;
end $$;
create trigger t_hankyo_koshin before update on t_hankyo for each row execute function koshin();
create trigger t_apo_koshin before update on t_apo for each row execute function koshin();

create function meisai_su() returns trigger language plpgsql as $$
begin
  if tg_op in ('DELETE', 'UPDATE') then
    update public.t_hankyo set meisai_su = meisai_su - 1 where hankyo_no = old.hankyo_no;
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    update public.t_hankyo set meisai_su = meisai_su + 1 where hankyo_no = new.hankyo_no;
  end if;
  return null;
end $$;
create trigger t_meisai_su after insert or delete on t_hankyo_meisai for each row execute function meisai_su();
create trigger t_meisai_su_move after update of hankyo_no on t_hankyo_meisai for each row when (old.hankyo_no <> new.hankyo_no) execute function meisai_su();

create schema traffic;
create function traffic.draw(seed bigint, what integer, n bigint) returns bigint language sql immutable as $$
  select ((hashint8extended(seed, what) % n) + n) % n
$$;

create function traffic.hankyo(seed bigint, what integer) returns integer language sql stable as $$
  select h.hankyo_no from public.t_hankyo h
   where h.hankyo_no >= (select 1 + traffic.draw(seed, what, s.last_value) from public.hankyo_no_seq s) and h.del_flg = '0'
   order by h.hankyo_no limit 1
$$;

-- One request of the inquiry service: what it did, and how many inquiries it made or removed for good.
create function traffic.step(seed bigint) returns table (operation text, made integer, removed integer) language plpgsql as $$
declare
  dice bigint := traffic.draw(seed, 0, 1000);
  who integer;
  other integer;
  today date := (now() at time zone 'Asia/Tokyo')::date;
begin
  made := 0; removed := 0;
  if dice < 200 then
    operation := '反響登録';
    who := null;
    insert into t_hankyo (kokyaku_no, baitai_cd, keiro, uketsuke_bi, uketsuke_jikan, tanto_cd, memo)
    select h.kokyaku_no, (array['WEB', 'KEN', 'CHI', 'TV ', 'ZAS', 'SHO'])[1 + traffic.draw(seed, 1, 6)], (array['電話', 'WEB', 'その他']::keiro_kbn[])[1 + traffic.draw(seed, 2, 3)],
           to_char(today, 'YYYYMMDD'), to_char(900 + traffic.draw(seed, 3, 60), 'FM0000'), to_char(1 + traffic.draw(seed, 4, 60), 'FM0000'), null
      from t_hankyo h where h.hankyo_no = (select traffic.hankyo(seed, 5))
    returning hankyo_no into who;
    if who is not null then
      insert into t_hankyo_meisai values (who, 1, to_char(1 + traffic.draw(seed, 6, 15), 'FM0000'), '品物 ' || seed, 1 + traffic.draw(seed, 7, 9));
      insert into t_taio (hankyo_no, taio_ts, kekka, tanto_cd, memo) values (who, localtimestamp, 0, '0001', '受付');
      made := 1;
    end if;
  elsif dice < 500 then
    operation := '架電結果';
    who := traffic.hankyo(seed, 1);
    insert into t_taio (hankyo_no, taio_ts, kekka, tanto_cd, memo)
    select who, localtimestamp, traffic.draw(seed, 2, 6), '0002', '架電 ' || seed where who is not null;
    update t_hankyo set jokyo = case when jokyo = 0 then 10 else jokyo end, jikai_kbn = case when jokyo = 20 then 4 else 2 end,
           jikai_ts = today + 1 + traffic.draw(seed, 3, 14)::integer + make_interval(hours => 9 + traffic.draw(seed, 4, 10)::integer), memo = '架電 ' || seed
     where hankyo_no = who and jokyo in (0, 10, 20);
  elsif dice < 600 then
    operation := 'アポ登録';
    who := traffic.hankyo(seed, 1);
    if exists (select from t_hankyo where hankyo_no = who and jokyo in (0, 10, 20)) then
      insert into t_apo (hankyo_no, homon_bi, kaishi_jikan, shuryo_jikan, jokyo, tanto_cd, yubin_no, homon_saki)
      values (who, to_char(today + 1 + traffic.draw(seed, 2, 20)::integer, 'YYYYMMDD'), '1300', '1500', 2, '0010', '150-0001', '東京都渋谷区神宮前1-2-3');
      update t_hankyo set jokyo = 30, jikai_kbn = 5, jikai_ts = null where hankyo_no = who;
    end if;
  elsif dice < 700 then
    operation := 'アポ変更';
    update t_apo set homon_bi = to_char(today + 1 + traffic.draw(seed, 2, 20)::integer, 'YYYYMMDD'), jokyo = 2
     where apo_no = (select a.apo_no from t_apo a where a.apo_no >= (select 1 + traffic.draw(seed, 1, s.last_value) from apo_no_seq s) and a.jokyo in (1, 2, 3) order by 1 limit 1);
  elsif dice < 760 then
    operation := 'アポ取消';
    update t_apo set jokyo = 8, riyu = 'お客様都合'
     where apo_no = (select a.apo_no from t_apo a where a.apo_no >= (select 1 + traffic.draw(seed, 1, s.last_value) from apo_no_seq s) and a.jokyo in (1, 2, 3) order by 1 limit 1)
    returning hankyo_no into who;
    update t_hankyo set jokyo = 20, jikai_kbn = 4, jikai_ts = today + 7 + interval '10 hours' where hankyo_no = who and jokyo = 30;
  elsif dice < 860 then
    operation := '明細変更';
    who := traffic.hankyo(seed, 1);
    insert into t_hankyo_meisai
    select who, coalesce(max(m.gyo_no), 0) + 1, to_char(1 + traffic.draw(seed, 6, 15), 'FM0000'), '追加 ' || seed, 1 from t_hankyo_meisai m where m.hankyo_no = who
    having count(*) < 6 and who is not null;
    update t_hankyo_meisai set suryo = 1 + traffic.draw(seed, 7, 9) where hankyo_no = who and gyo_no = 1;
  elsif dice < 900 then
    operation := '明細付替';
    who := traffic.hankyo(seed, 1);
    other := traffic.hankyo(seed, 2);
    if who <> other then
      update t_hankyo_meisai set hankyo_no = other, gyo_no = (select coalesce(max(m.gyo_no), 0) + 1 from t_hankyo_meisai m where m.hankyo_no = other)
       where (hankyo_no, gyo_no) = (select m.hankyo_no, max(m.gyo_no) from t_hankyo_meisai m where m.hankyo_no = who group by 1);
    end if;
  elsif dice < 950 then
    operation := '失注';
    update t_hankyo set jokyo = 90, riyu_cd = 1 + traffic.draw(seed, 2, 4), jikai_kbn = null, jikai_ts = null
     where hankyo_no = (select traffic.hankyo(seed, 1)) and jokyo in (0, 10, 20);
  elsif dice < 970 then
    operation := '論理削除';
    update t_hankyo set del_flg = '1' where hankyo_no = (select traffic.hankyo(seed, 1));
  elsif dice < 985 then
    operation := '電話メモ';
    insert into w_denwa_memo (tel, naiyo) values ('090-0000-' || to_char(seed % 10000, 'FM0000'), '折り返し希望');
    delete from w_denwa_memo where uketsuke_ts < localtimestamp - interval '1 minute';
  else
    operation := '一括更新';
    who := traffic.hankyo(seed, 1);
    update t_hankyo set memo = memo where hankyo_no between who and who + 50;
  end if;
  return next;
end $$;
