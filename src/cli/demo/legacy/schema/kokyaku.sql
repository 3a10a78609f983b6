-- 顧客管理: the customers of the sample legacy company, with the habits of a system that grew for fifteen years. Run in an empty database
-- as its owner; `kokyaku.after.sql` adds keys and triggers once the rows are in.

create type seibetsu_kbn as enum ('男', '女', '不明');

create table m_kbn (
  kbn_shu varchar(10) not null,
  kbn_cd smallint not null,
  meisho varchar(40) not null
);

create sequence kokyaku_no_seq as integer;
create table m_kokyaku (
  kokyaku_no integer not null default nextval('kokyaku_no_seq'),
  shimei varchar(60) not null,
  shimei_kana varchar(60),
  seibetsu seibetsu_kbn not null default '不明',
  seinengappi char(8),
  kokyaku_kbn smallint not null default 1,
  dm_fuka smallint not null default 0,
  email varchar(200),
  biko text,
  tanto_cd char(4),
  yobi1 varchar(200),
  yobi2 text,
  tel_su integer not null default 0,
  jusho_su integer not null default 0,
  del_flg char(1) not null default '0' check (del_flg in ('0', '1')),
  toroku_ts timestamp not null default now(),
  koshin_ts timestamp not null default now()
);
comment on table m_kokyaku is '顧客マスタ';
comment on column m_kokyaku.shimei is '氏名 (姓 名)';
comment on column m_kokyaku.seinengappi is '生年月日 YYYYMMDD, 不明は 00000000';
comment on column m_kokyaku.kokyaku_kbn is '顧客区分: 1 一般 2 得意先 3 要注意 4 苦情あり';
comment on column m_kokyaku.dm_fuka is '1: DM 不可';
comment on column m_kokyaku.yobi1 is '予備1 (属性、カンマ区切り)';
comment on column m_kokyaku.yobi2 is '予備2';
comment on column m_kokyaku.del_flg is '削除フラグ';

create sequence tel_id_seq as integer;
create table t_tel (
  tel_id integer not null default nextval('tel_id_seq'),
  kokyaku_no integer not null,
  tel_kbn smallint not null default 0,
  tel_no varchar(80) not null,
  hyoji_jun smallint not null default 1,
  biko varchar(100)
);
comment on table t_tel is '電話番号';
comment on column t_tel.tel_kbn is '0 不明 1 自宅 2 携帯 3 勤務先';
comment on column t_tel.tel_no is '入力どおり。複数は / 区切り';

create table t_jusho (
  kokyaku_no integer not null,
  eda_no smallint not null,
  yubin_no char(8),
  jusho1 varchar(120) not null default '',
  jusho2 varchar(200) not null default '',
  jusho3 varchar(200),
  biko varchar(200),
  del_flg char(1) not null default '0'
);
comment on table t_jusho is '住所';
comment on column t_jusho.jusho1 is '都道府県・市区町村';
comment on column t_jusho.jusho2 is '町域・番地';
comment on column t_jusho.jusho3 is '建物';

-- Who changed what, by the year; the application's own journal.
create sequence rireki_id_seq;
create table t_kokyaku_rireki (
  rireki_id bigint not null default nextval('rireki_id_seq'),
  kokyaku_no integer not null,
  hassei_ts timestamp not null default now(),
  sosa varchar(10) not null,
  naiyo text
) partition by range (hassei_ts);
create table t_kokyaku_rireki_old partition of t_kokyaku_rireki for values from (minvalue) to ('2025-01-01');
create table t_kokyaku_rireki_2025 partition of t_kokyaku_rireki for values from ('2025-01-01') to ('2026-01-01');
create table t_kokyaku_rireki_2026 partition of t_kokyaku_rireki for values from ('2026-01-01') to ('2027-01-01');
create table t_kokyaku_rireki_new partition of t_kokyaku_rireki for values from ('2027-01-01') to (maxvalue);

-- Lines of bought lists before somebody looks at them. No key.
create table w_torikomi (
  file_mei varchar(100),
  gyo integer,
  naiyo text,
  shori_flg smallint default 0
);
