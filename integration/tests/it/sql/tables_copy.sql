-- COPY in both directions.
create table c(a int, b text, n numeric(5,2) default 9.5);
copy c from stdin;
1	one	1.5
2	\N	\N
3	tab\there	3
4	new\nline	4
5	back\\slash	5
6	\x41\101\b	6
7		7
\.
copy c to stdout;
copy c (b, a) to stdout;
copy c(a, b) from stdin;
8	eight
9	\.x
\.
select * from c order by a;
copy c from stdin with (format csv);
10,ten,1
11,"quo""ted",2
12,"new
line",3
13,,4
14,"",5
15, spaces ,6
\.
copy c to stdout csv;
copy c to stdout (format csv, header);
copy c to stdout (format csv, delimiter ';', quote '''', null 'NULL', force_quote *);
copy c to stdout (format csv, force_quote (b), escape '\');
copy c to stdout with delimiter '|' null '@';
copy c to stdout (header);
copy c to stdout (header true, delimiter ',');
copy (select a, b from c where a < 4 order by a desc) to stdout;
copy (values (1, 'x'), (2, null)) to stdout csv header;
copy (select 1 as "Col", null::text as "A,b") to stdout (format csv, header);
copy (insert into c values (100, 'ret', 1) returning a, b) to stdout;
copy (update c set b = 'r2' where a = 100 returning *) to stdout csv;
copy (delete from c where a = 100) to stdout;
copy (delete from c where a = 100 returning a) to stdout;
copy (select 1; select 2) to stdout;
copy (create table z(a int)) to stdout;
copy (select a into zz from c) to stdout;
copy c from stdin (format csv, header);
a,b,n
20,twenty,2
\.
copy c from stdin (format csv, header match);
a,b,n
21,twentyone,2
\.
copy c from stdin (format csv, header match);
a,c,n
22,x,2
\.
copy c from stdin (format csv, header match);
a,b
22,x
\.
copy c from stdin (header);
anything
23	x	1
\.
copy c from stdin where a > 25;
24	no	1
26	yes	1
\.
copy c from stdin (format csv) where b like 'k%' and n is not null;
27,keep,1
28,drop,1
29,keep,
\.
copy c(a) from stdin where b is null;
30
\.
copy c from stdin where nosuch > 1;
\.
copy c from stdin where a;
\.
copy c from stdin where sum(a) > 1;
\.
copy c from stdin where a = (select 1);
\.
copy c to stdout where a > 1;
truncate c;
copy c from stdin;
1	x
\.
copy c from stdin;
1	x	1	extra
\.
copy c from stdin;
abc	x	1
\.
copy c from stdin;
1	x	12345.6
\.
copy c from stdin;
1	ok	1
2	ok	2
x3	bad	3
\.
copy c from stdin (format csv);
1,"unterminated
\.
copy c from stdin (format csv);
1,x
\.
copy c from stdin (format csv);
1,x,1,2
\.
copy c from stdin (format csv, null 'n/a', force_not_null (b), force_null (n));
31,,1
32,n/a,"n/a"
\.
select * from c;
copy c from stdin (format text, null 'NULL', delimiter ',');
33,NULL,NULL
34,a\,b,1
\.
copy c from stdin (format csv, quote '|', escape '\');
35,|a\|b,c|,1
\.
copy c from stdin (freeze); -- differs: FREEZE is not checked yet
\.
copy c from stdin (encoding 'latin1'); -- differs: there are no conversions yet
36	x	1
\.
copy c from stdin (encoding 'nosuch'); -- differs: there are no conversions yet
\.
select * from c order by a; -- differs: comes later
begin;
truncate c;
copy c from stdin (freeze true);
37	frozen	1
\.
select * from c;
rollback;
create table nc(a int not null, b int check (b > 0), c varchar(3));
copy nc from stdin;
\N	1	x
\.
copy nc from stdin;
1	0	x
\.
copy nc from stdin;
1	1	abcd
\.
copy nc from stdin (format csv);
1,1,abcd
\.
copy nc from stdin;
1	1	abc
2	\N	\N
\.
copy nc(c) from stdin;
x
\.
copy nc(b, b) from stdin;
\.
copy nc(nosuch) from stdin;
\.
copy nc(nosuch) to stdout;
copy nc(xmin) to stdout;
copy nosuch to stdout;
copy nosuch from stdin;
\.
copy nosuch.nosuch to stdout;
copy pg_tables to stdout;
copy nc from '/nonexistent/file';
copy nc to '/nonexistent/file';
copy nc from 'relative';
copy nc to 'relative';
copy nc to '/tmp';
copy nc from '/tmp';
copy nc to stdout (format binary, nosuch); -- differs: COPY in binary format comes later
copy nc to stdout (nosuch);
copy nc to stdout (format nosuch);
copy nc to stdout (format);
copy nc to stdout (format csv, format csv);
copy nc to stdout (delimiter 'ab');
copy nc to stdout (delimiter '');
copy nc to stdout (delimiter E'\n');
copy nc to stdout (delimiter 'a');
copy nc to stdout (delimiter '\');
copy nc to stdout (format csv, delimiter '"');
copy nc to stdout (null E'a\nb');
copy nc to stdout (null 'a	b');
copy nc to stdout (format csv, null '"');
copy nc to stdout (quote 'x');
copy nc to stdout (escape 'x');
copy nc to stdout (format csv, quote 'ab');
copy nc to stdout (format csv, escape 'ab');
copy nc to stdout (format csv, quote ',');
copy nc to stdout (force_quote *);
copy nc to stdout (format csv, force_quote (nosuch)); -- differs: the column is looked for elsewhere
copy nc to stdout (format csv, force_quote (a, nosuch)); -- differs: the column is looked for elsewhere
copy nc (a) to stdout (format csv, force_quote (b));
copy nc from stdin (format csv, force_quote (a));
\.
copy nc to stdout (format csv, force_not_null (a));
copy nc to stdout (format csv, force_null (a));
copy nc from stdin (force_not_null (a));
\.
copy nc from stdin (force_null (a));
\.
copy nc to stdout (format csv, force_quote 5);
copy nc to stdout (freeze);
copy nc to stdout (header match);
copy nc to stdout (header maybe);
copy nc to stdout (header 2);
copy nc to stdout (format binary, delimiter ','); -- differs: COPY in binary format comes later
copy nc to stdout (format binary, null ''); -- differs: COPY in binary format comes later
copy nc to stdout (format binary, header); -- differs: COPY in binary format comes later
copy nc to stdout (oids);
copy nc to stdout oids;
copy nc to stdout csv header quote as '''' delimiter ':';
copy nc to stdout with csv force quote a, c;
copy nc to stdout with null as 'x' delimiter as '!';
copy nc from stdin csv force not null c;
3,3,
\.
select * from nc order by a;
copy nc to stdout with binary csv; -- differs: COPY in binary format comes later
copy;
copy nc;
copy nc to;
copy nc stdout;
copy (select) to stdout;
copy (select 1) from stdin;
\.
copy (select 1) (a) to stdout;
copy nc to stdin;
copy nc from stdout;
1
\.
prepare p as copy nc to stdout;
explain copy nc to stdout;
\copy nc to stdout
\copy nc from stdin
41	41	x
\.
\copy (select * from nc where a > 40) to stdout csv
select count(*) from nc;
copy nc from stdin;
\.
select count(*) from nc;
begin;
copy nc from stdin;
50	50	x
\.
savepoint s;
copy nc from stdin;
51	-1	x
\.
rollback to s;
copy nc from stdin;
52	1	y
\.
commit;
select * from nc where a >= 50;
create table ar(a int[], b text[], c bytea, d timestamp, e json, f bool, g "char", h float8);
copy ar from stdin;
{1,2}	{"a,b","c\\\\d"}	\\x4142	2020-01-01 00:00:00	{"k": "v\\n"}	t	x	1e300
\N	{}	\\x	infinity	[]	f	\N	NaN
\.
copy ar to stdout;
copy ar to stdout csv;
copy ar(d) from stdin;
garbage
\.
copy ar(f) from stdin;
perhaps
\.
copy ar(b) from stdin;
{a
\.
copy ar(c) from stdin;
\\x4
\.
create table one(t text);
copy one from stdin;
\.x
\.
copy one from stdin;
a
\\.
\\N
\N

b\
c
\.
copy one to stdout;
copy one to stdout csv;
copy one to stdout csv header force quote *;
copy one from stdin csv;
\.
copy one from stdin csv;
"\."
\.
copy one to stdout;
copy one from stdin;
a	b
\.
truncate one;
copy one from stdin;
\001\1\12\123\1234\x\x4\x41\x414\q\v\f\r\t\b
\.
select t::bytea from one where t is not null;
copy one to stdout;
set client_encoding = 'latin1'; -- differs: there are no conversions yet
copy (select U&'\00e9') to stdout; -- differs: there are no conversions yet
copy (select U&'\20ac') to stdout; -- differs: there are no conversions yet
reset client_encoding;
drop table c, nc, ar, one;
