-- Keys, triggers and the services' own way of working: `traffic.step(seed)` does what one request of theirs does.

alter table m_kbn add primary key (kbn_shu, kbn_cd);
insert into m_kbn values ('KOKYAKU', 1, '一般'), ('KOKYAKU', 2, '得意先'), ('KOKYAKU', 3, '要注意'), ('KOKYAKU', 4, '苦情あり'),
  ('TEL', 0, '不明'), ('TEL', 1, '自宅'), ('TEL', 2, '携帯'), ('TEL', 3, '勤務先');
alter table m_kokyaku add primary key (kokyaku_no);
alter table t_tel add primary key (tel_id);
alter table t_jusho add primary key (kokyaku_no, eda_no);
alter table t_kokyaku_rireki add primary key (rireki_id, hassei_ts);
create index t_tel_kokyaku on t_tel (kokyaku_no);
alter table t_tel add foreign key (kokyaku_no) references m_kokyaku on delete cascade;
create index m_kokyaku_kana on m_kokyaku (shimei_kana);

select setval('kokyaku_no_seq', greatest(1, (select max(kokyaku_no) from m_kokyaku)));
select setval('tel_id_seq', greatest(1, (select max(tel_id) from t_tel)));
select setval('rireki_id_seq', greatest(1, (select max(rireki_id) from t_kokyaku_rireki)));

create function koshin() returns trigger language plpgsql as $$
begin
  new.koshin_ts := localtimestamp;
  return new;
end $$;
create trigger m_kokyaku_koshin before update on m_kokyaku for each row execute function koshin();

create function kokyaku_rireki() returns trigger language plpgsql as $$
begin
  insert into public.t_kokyaku_rireki (kokyaku_no, sosa, naiyo) values (new.kokyaku_no, '変更', '氏名 ' || old.shimei || ' → ' || new.shimei);
  return null;
end $$;
create trigger m_kokyaku_rireki after update of shimei on m_kokyaku for each row when (old.shimei is distinct from new.shimei)
  execute function kokyaku_rireki();

create function tel_su() returns trigger language plpgsql as $$
begin
  if tg_op in ('DELETE', 'UPDATE') then
    update public.m_kokyaku set tel_su = tel_su - 1 where kokyaku_no = old.kokyaku_no;
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    update public.m_kokyaku set tel_su = tel_su + 1 where kokyaku_no = new.kokyaku_no;
  end if;
  return null;
end $$;
create trigger t_tel_su after insert or delete on t_tel for each row execute function tel_su();
create trigger t_tel_su_move after update of kokyaku_no on t_tel for each row when (old.kokyaku_no <> new.kokyaku_no) execute function tel_su();

create function jusho_su() returns trigger language plpgsql as $$
begin
  if tg_op in ('DELETE', 'UPDATE') then
    update public.m_kokyaku set jusho_su = jusho_su - 1 where kokyaku_no = old.kokyaku_no;
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    update public.m_kokyaku set jusho_su = jusho_su + 1 where kokyaku_no = new.kokyaku_no;
  end if;
  return null;
end $$;
create trigger t_jusho_su after insert or delete on t_jusho for each row execute function jusho_su();
create trigger t_jusho_su_move after update of kokyaku_no on t_jusho for each row when (old.kokyaku_no <> new.kokyaku_no) execute function jusho_su();

create schema traffic;

-- A draw of `seed`: 0 to n - 1, another one for each `what`.
create function traffic.draw(seed bigint, what integer, n bigint) returns bigint language sql immutable as $$
  select ((hashint8extended(seed, what) % n) + n) % n
$$;

-- One of the customers that live.
create function traffic.kokyaku(seed bigint, what integer) returns integer language sql stable as $$
  select k.kokyaku_no from public.m_kokyaku k
   where k.kokyaku_no >= (select 1 + traffic.draw(seed, what, s.last_value) from public.kokyaku_no_seq s) and k.del_flg = '0'
   order by k.kokyaku_no limit 1
$$;

create function traffic.tel(seed bigint, what integer) returns text language sql immutable as $$
  select case traffic.draw(seed, what, 6)
           when 0 then '090-' || a || '-' || b
           when 1 then '080' || a || b
           when 2 then translate('070-' || a || '-' || b, '0123456789-', '０１２３４５６７８９－')
           when 3 then '03-' || a || '-' || b || ' 内線' || (100 + traffic.draw(seed, what + 3, 900))
           when 4 then '090-' || a || '-' || b || ' / 03-' || b || '-' || a
           else '(06)' || a || '-' || b end
    from (select (1000 + traffic.draw(seed, what + 1, 9000))::text as a, (1000 + traffic.draw(seed, what + 2, 9000))::text as b) d
$$;

-- One request of the customer service: what it did, and how many customers it made or removed for good.
create function traffic.step(seed bigint) returns table (operation text, made integer, removed integer) language plpgsql as $$
declare
  dice bigint := traffic.draw(seed, 0, 1000);
  who integer;
  other integer;
  found_rows integer;
begin
  made := 0; removed := 0;
  if dice < 150 then
    operation := '新規登録';
    insert into m_kokyaku (shimei, shimei_kana, seibetsu, seinengappi, biko)
    select k.shimei, k.shimei_kana, k.seibetsu, (19400101 + traffic.draw(seed, 1, 60) * 10000 + traffic.draw(seed, 2, 12) * 100 + traffic.draw(seed, 3, 28))::text, null
      from m_kokyaku k where k.kokyaku_no = (select traffic.kokyaku(seed, 4))
    returning kokyaku_no into who;
    if who is null then
      insert into m_kokyaku (shimei) values ('山田 花子') returning kokyaku_no into who;
    end if;
    insert into t_tel (kokyaku_no, tel_kbn, tel_no) values (who, traffic.draw(seed, 5, 3), traffic.tel(seed, 10));
    insert into t_jusho (kokyaku_no, eda_no, yubin_no, jusho1, jusho2)
    values (who, 1, '150-0001', '東京都渋谷区', '神宮前' || (1 + traffic.draw(seed, 6, 6)) || '－' || (1 + traffic.draw(seed, 7, 30)) || '－' || (1 + traffic.draw(seed, 8, 20)));
    made := 1;
  elsif dice < 400 then
    operation := '電話変更';
    update t_tel set tel_no = traffic.tel(seed, 10), tel_kbn = traffic.draw(seed, 5, 4)
     where tel_id = (select t.tel_id from t_tel t where t.kokyaku_no = (select traffic.kokyaku(seed, 1)) order by t.tel_id limit 1);
  elsif dice < 480 then
    operation := '電話追加';
    who := traffic.kokyaku(seed, 1);
    insert into t_tel (kokyaku_no, tel_kbn, tel_no, hyoji_jun)
    select who, 0, traffic.tel(seed, 10), 2 where (select count(*) from t_tel t where t.kokyaku_no = who) < 4 and who is not null;
  elsif dice < 530 then
    operation := '電話削除';
    delete from t_tel where tel_id = (select max(t.tel_id) from t_tel t where t.kokyaku_no = (select traffic.kokyaku(seed, 1))
                                       having count(*) > 1);
  elsif dice < 680 then
    operation := '転居';
    update t_jusho set yubin_no = '530-0001', jusho1 = '大阪府大阪市北区', jusho2 = '梅田' || (1 + traffic.draw(seed, 2, 3)) || '丁目' || (1 + traffic.draw(seed, 3, 30)) || '番',
           jusho3 = case when traffic.draw(seed, 4, 3) = 0 then null else (101 + traffic.draw(seed, 5, 800)) || '号室' end
     where kokyaku_no = (select traffic.kokyaku(seed, 1)) and eda_no = 1;
  elsif dice < 780 then
    operation := '基本情報変更';
    update m_kokyaku set biko = '電話受付 ' || seed, kokyaku_kbn = 1 + traffic.draw(seed, 2, 4), email = case when traffic.draw(seed, 3, 2) = 0 then email else 'k' || seed || '@example.jp' end
     where kokyaku_no = (select traffic.kokyaku(seed, 1));
  elsif dice < 830 then
    operation := '改姓';
    update m_kokyaku k set shimei = o.shimei, shimei_kana = o.shimei_kana
      from m_kokyaku o where k.kokyaku_no = (select traffic.kokyaku(seed, 1)) and o.kokyaku_no = (select traffic.kokyaku(seed, 2));
  elsif dice < 860 then
    operation := '論理削除';
    update m_kokyaku set del_flg = '1' where kokyaku_no = (select traffic.kokyaku(seed, 1));
  elsif dice < 880 then
    operation := '復活';
    update m_kokyaku set del_flg = '0' where kokyaku_no = (select k.kokyaku_no from m_kokyaku k
      where k.kokyaku_no >= (select 1 + traffic.draw(seed, 1, s.last_value) from kokyaku_no_seq s) and k.del_flg = '1' order by 1 limit 1);
  elsif dice < 900 then
    operation := '物理削除';  -- the telephone numbers cascade, the addresses have no foreign key and are removed by hand
    who := traffic.kokyaku(seed, 1);
    delete from m_kokyaku where kokyaku_no = who;
    get diagnostics found_rows = row_count;
    delete from t_jusho where kokyaku_no = who;
    removed := found_rows;
  elsif dice < 950 then
    operation := '名寄せ';  -- a telephone number and an address go over to another customer
    who := traffic.kokyaku(seed, 1);
    other := traffic.kokyaku(seed, 2);
    if who <> other then
      update t_tel set kokyaku_no = other where tel_id = (select max(t.tel_id) from t_tel t where t.kokyaku_no = who);
      update t_jusho set kokyaku_no = other, eda_no = (select coalesce(max(j.eda_no), 0) + 1 from t_jusho j where j.kokyaku_no = other)
       where (kokyaku_no, eda_no) = (select j.kokyaku_no, max(j.eda_no) from t_jusho j where j.kokyaku_no = who group by 1 having count(*) > 1);
    end if;
  elsif dice < 990 then
    operation := '取込';
    insert into w_torikomi (file_mei, gyo, naiyo) values ('list-' || seed % 100, (seed % 1000)::integer, traffic.tel(seed, 10));
    update w_torikomi set shori_flg = 1 where file_mei = 'list-' || (seed + 1) % 100 and gyo = 1;
    delete from w_torikomi where file_mei = 'list-' || (seed + 2) % 100;
  else
    operation := '一括更新';  -- a night job's habit: everybody in a range, changed or not
    update m_kokyaku set dm_fuka = case when dm_fuka = 1 then 0 else dm_fuka end
     where kokyaku_no between (select traffic.kokyaku(seed, 1)) and (select traffic.kokyaku(seed, 1)) + 50;
  end if;
  return next;
end $$;
