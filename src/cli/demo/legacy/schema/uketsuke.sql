-- 受付: the inquiries and appointments of the sample legacy company. Customers are known by the number that 顧客管理 gave them, in
-- another database: nothing checks it here.

create type keiro_kbn as enum ('電話', 'WEB', '名簿', 'その他');

create table m_baitai (
  baitai_cd char(3) not null,
  meisho varchar(40) not null,
  hyoji_jun smallint not null default 0,
  del_flg char(1) not null default '0'
);

create table m_tanto (
  tanto_cd char(4) not null,
  shimei varchar(40) not null,
  busho varchar(40),
  taishoku_flg char(1) not null default '0'
);

create sequence hankyo_no_seq as integer;
create table t_hankyo (
  hankyo_no integer not null default nextval('hankyo_no_seq'),
  kokyaku_no integer not null,
  baitai_cd char(3) not null,
  keiro keiro_kbn not null default '電話',
  uketsuke_bi char(8) not null,
  uketsuke_jikan char(4) not null default '0000',
  jokyo smallint not null default 0,
  riyu_cd smallint,
  riyu varchar(200),
  tanto_cd char(4),
  jikai_kbn smallint,
  jikai_ts timestamp,
  memo text,
  gaibu_no varchar(200),
  jihatsu_flg char(1) not null default '1',
  yobi2 text,
  meisai_su integer not null default 0,
  del_flg char(1) not null default '0',
  toroku_ts timestamp not null default now(),
  koshin_ts timestamp not null default now()
);
comment on table t_hankyo is '反響';
comment on column t_hankyo.jokyo is '0 新規 10 対応中 20 追客 30 アポ 40 訪問済 50 成約 51 不成約 90 失注 99 無効';
comment on column t_hankyo.riyu_cd is '失注: 1 他社 2 家族反対 3 価格 4 不通 9 その他 / 無効: 11 重複 12 いたずら 13 エリア外 14 対象外';
comment on column t_hankyo.jikai_kbn is '次回: 1 架電 2 折返し 3 前確認 4 追客 5 訪問 6 待ち 9 なし';
comment on column t_hankyo.jihatsu_flg is '1: お客様から';
comment on column t_hankyo.uketsuke_bi is 'YYYYMMDD';
comment on column t_hankyo.uketsuke_jikan is 'HHMM';

create table t_hankyo_meisai (
  hankyo_no integer not null,
  gyo_no smallint not null,
  bunrui_cd char(4) not null,
  hinmei varchar(200),
  suryo integer
);
comment on table t_hankyo_meisai is '申込商材';

create sequence apo_no_seq as integer;
create table t_apo (
  apo_no integer not null default nextval('apo_no_seq'),
  hankyo_no integer not null,
  homon_bi char(8) not null,
  kaishi_jikan char(4) not null,
  shuryo_jikan char(4) not null,
  jokyo smallint not null default 1,
  tanto_cd char(4),
  yubin_no char(8),
  homon_saki text,
  riyu text,
  koshin_ts timestamp not null default now()
);
comment on table t_apo is 'アポ';
comment on column t_apo.jokyo is '1 仮 2 確定 3 前確認済 5 完了 8 取消 9 不在';

create sequence taio_no_seq;
create table t_taio (
  taio_no bigint not null default nextval('taio_no_seq'),
  hankyo_no integer not null,
  taio_ts timestamp not null,
  kekka smallint not null,
  tanto_cd char(4),
  memo text
) partition by range (taio_ts);
comment on table t_taio is '対応履歴';
create table t_taio_old partition of t_taio for values from (minvalue) to ('2026-01-01');
create table t_taio_2026 partition of t_taio for values from ('2026-01-01') to ('2027-01-01');
create table t_taio_new partition of t_taio for values from ('2027-01-01') to (maxvalue);

-- Slips that somebody typed while on the phone. No key.
create table w_denwa_memo (
  uketsuke_ts timestamp default now(),
  tel varchar(80),
  naiyo text
);
