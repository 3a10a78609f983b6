insert into m_bunrui (bunrui_cd, meisho, meisho_eng, homon_hou, hyoji_jun, del_flg) values
  ('0001', '着物・帯', 'Kimono', 1, 1, '0'),
  ('0002', '宝石・貴金属', 'Jewellery', 1, 2, '0'),
  ('0003', '時計', 'Watches', 1, 3, '0'),
  ('0004', 'ブランドバッグ', 'Brand bags', 1, 4, '0'),
  ('0005', '切手・はがき', 'Stamps', 1, 5, '0'),
  ('0006', '古銭・記念硬貨', 'Coins', 1, 6, '0'),
  ('0007', '骨董品・美術品', 'Antiques', 1, 7, '0'),
  ('0008', 'カメラ・レンズ', 'Cameras', 1, 8, '0'),
  ('0009', 'レコード・ＣＤ', 'Records', 1, 9, '0'),
  ('0010', '楽器・オーディオ', 'Instruments', 1, 10, '0'),
  ('0011', 'お酒', 'Liquor', 1, 11, '0'),
  ('0012', '毛皮・洋服', 'Furs', 1, 12, '0'),
  ('0013', '食器・茶道具', 'Tableware', 1, 13, '0'),
  ('0014', '人形・ｵﾓﾁｬ', 'Dolls', 1, 14, '0'),
  ('0015', '金券', 'Gift certificates', 1, 15, '0'),
  ('0099', 'その他', null, 1, 99, '0'),
  ('0098', '家具（取扱終了）', null, 0, 98, '1');
alter table m_bunrui add primary key (bunrui_cd);
alter table t_shohin add primary key (shohin_no);
alter table t_shohin add foreign key (bunrui_cd) references m_bunrui;
create index t_shohin_hankyo on t_shohin (hankyo_no);
select setval('shohin_no_seq', greatest(1, (select max(shohin_no) from t_shohin)));

create function koshin() returns trigger language plpgsql as $$
begin
  new.koshin_ts := localtimestamp;
  return new;
end $$;
create trigger m_bunrui_koshin before update on m_bunrui for each row execute function koshin();

create schema traffic;
create function traffic.draw(seed bigint, what integer, n bigint) returns bigint language sql immutable as $$
  select ((hashint8extended(seed, what) % n) + n) % n
$$;

-- One request of the goods service: what it did, and how many kinds of goods it made or removed for good.
create function traffic.step(seed bigint) returns table (operation text, made integer, removed integer) language plpgsql as $$
declare
  dice bigint := traffic.draw(seed, 0, 1000);
begin
  made := 0; removed := 0;
  if dice < 500 then
    operation := '買取登録';
    insert into t_shohin (bunrui_cd, hinmei, jotai, kaitori_kin, kaitori_bi)
    values (to_char(1 + traffic.draw(seed, 1, 15), 'FM0000'), '訪問着 ' || seed, 1 + traffic.draw(seed, 2, 4), 1000 * traffic.draw(seed, 3, 300), to_char(now() at time zone 'Asia/Tokyo', 'YYYYMMDD'));
  elsif dice < 800 then
    operation := '商品変更';
    update t_shohin set jotai = 1 + traffic.draw(seed, 2, 4), biko = '再査定 ' || seed where shohin_no = (select 1 + traffic.draw(seed, 1, s.last_value) from shohin_no_seq s);
  elsif dice < 950 then
    operation := '分類変更';
    update m_bunrui set hyoji_jun = traffic.draw(seed, 2, 100) where bunrui_cd = (select to_char(1 + traffic.draw(seed, 1, 15), 'FM0000'));
  elsif dice < 980 then
    operation := '相場取込';
    insert into w_soba values (to_char(1 + traffic.draw(seed, 1, 15), 'FM0000'), to_char(now(), 'YYYYMMDD'), traffic.draw(seed, 2, 100000));
  else
    operation := '商品削除';
    delete from t_shohin where shohin_no = (select 1 + traffic.draw(seed, 1, s.last_value) from shohin_no_seq s);
  end if;
  return next;
end $$;
