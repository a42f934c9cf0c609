-- A role and a schema for one service, which may touch nothing else. Harmless when they are there.
-- psql's variables: database, service, password.
SET client_min_messages = warning;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SELECT format('CREATE ROLE %I LOGIN', :'service')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'service') \gexec
ALTER ROLE :"service" PASSWORD :'password';
ALTER ROLE :"service" SET search_path = :"service";
GRANT CONNECT ON DATABASE :"database" TO :"service";
CREATE SCHEMA IF NOT EXISTS :"service" AUTHORIZATION :"service";
