-- 商品: the goods of the sample legacy company; the oldest of its systems, in EUC-JP.

create table m_bunrui (
  bunrui_cd char(4) not null,
  meisho varchar(40) not null,
  meisho_eng varchar(40),
  homon_hou smallint not null default 1,
  hyoji_jun smallint not null default 0,
  del_flg char(1) not null default '0',
  koshin_ts timestamp not null default now()
);
comment on table m_bunrui is '商品分類';
comment on column m_bunrui.homon_hou is '1: 訪問購入の規制対象';

create sequence shohin_no_seq as integer;
create table t_shohin (
  shohin_no integer not null default nextval('shohin_no_seq'),
  bunrui_cd char(4) not null,
  hankyo_no integer,
  hinmei varchar(500) not null,
  jotai smallint not null default 3,
  jotai_memo varchar(40),
  kaitori_kin numeric(10, 0),
  kaitori_bi char(8),
  biko text,
  yobi2 text,
  del_flg char(1) not null default '0'
);
comment on table t_shohin is '商品';
comment on column t_shohin.jotai is '1 新品 2 美品 3 並 4 難あり 9 他 (jotai_memo)';

-- Prices seen at auctions, as they were read in. No key.
create table w_soba (
  bunrui_cd char(4),
  chosa_bi char(8),
  kingaku numeric
);
