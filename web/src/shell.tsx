import { ActionIcon, Button, Center, Loader, Menu, Modal, Text, Tooltip, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconChevronDown, IconMoon, IconSun } from "@tabler/icons-react";
import { Link, Navigate, Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { onLegacyChanged, onUnauthenticated, Problem, write } from "./api/client";
import { cache } from "./cache";
import { useEvents } from "./events/use_events";
import { LocaleSwitch, LogInForm } from "./pages/log_in";
import { ChangePassword } from "./pages/password";
import { ProblemAlert, problemText } from "./parts/problem";
import { useActiveInSight } from "./parts/sight";
import { hasSettings } from "./settings/settings";
import { remember, useMay, useMe, useSession } from "./session";

const pages = [
  { to: "/", label: "nav.desk", needs: "claim_call_task" },
  { to: "/customers", label: "nav.customers", needs: "list_customers" },
  { to: "/inquiries", label: "nav.inquiries", needs: "list_inquiries" },
  { to: "/visits", label: "nav.visits", needs: "list_appointments" },
  { to: "/imports", label: "nav.imports", needs: "list_imports" },
  { to: "/takeover", label: "nav.takeover", needs: "list_takeover_domains" },
  { to: "/compliance", label: "nav.compliance", needs: "list_personal_data_views" },
  { to: "/continuity", label: "nav.continuity", needs: "get_continuity" },
  { to: "/put-backs", label: "nav.putBack", needs: "put_back" },
  { to: "/views", label: "nav.views", needs: "list_personal_data_views" },
] as const;

/** The first page that the user's operations open. */
export function homeOf(operations: Record<string, unknown>) {
  return pages.find((p) => p.needs in operations)?.to ?? "/customers";
}

function Header() {
  const { t } = useTranslation();
  const me = useMe();
  const may = useMay();
  const navigate = useNavigate();
  const [changing, setChanging] = useState(false);
  const links = useActiveInSight();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light");
  const logOut = async () => {
    try {
      await write("delete", "/v1/session", { patient: false });
    } catch (e) {
      // Whoever leaves the seat must not believe that the session ended while it goes on.
      if (!(e instanceof Problem) || e.status !== 401) {
        notifications.show({ message: t("nav.logOutFailed", { reason: problemText(e) }), color: "red", autoClose: false });
        return;
      }
    }
    (await import("./desk/draft")).forgetDrafts();
    remember(null);
    cache.removeQueries({ predicate: (q) => q.queryKey[0] !== "session" });
    await navigate({ to: "/login", search: {} });
  };
  return (
    <header className="header">
      <Link to="/" className="mark">
        <span aria-hidden>縁</span>Enishi
      </Link>
      <nav className="navs" ref={links} aria-label={t("nav.pages")}>
        {pages
          .filter((p) => may(p.needs))
          .map((p) => (
            <Link key={p.to} to={p.to} className="nav" activeOptions={{ exact: p.to === "/" }}>
              {t(p.label)}
            </Link>
          ))}
        {hasSettings(may) && <Link to="/settings" className="nav">{t("nav.settings")}</Link>}
      </nav>
      <LocaleSwitch color="#e6ecf2" />
      <Tooltip label={t("nav.scheme")}>
        <ActionIcon variant="transparent" aria-label={t("nav.scheme")} onClick={() => setColorScheme(scheme === "dark" ? "light" : "dark")} ml={8}>
          {scheme === "dark" ? <IconSun size={17} /> : <IconMoon size={17} />}
        </ActionIcon>
      </Tooltip>
      <Menu position="bottom-end" transitionProps={{ duration: 0 }}>
        <Menu.Target>
          <Button variant="transparent" rightSection={<IconChevronDown size={14} />} px={6}>
            {me.user.display_name}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>
            {me.user.login} · {me.roles.map((r) => t(`role.${r}` as never, { defaultValue: r }) as unknown as string).join(", ")}
          </Menu.Label>
          <Menu.Item onClick={() => setChanging(true)}>{t("password.title")}</Menu.Item>
          <Menu.Item onClick={() => void navigate({ to: "/settings/$section", params: { section: "sessions" } })}>{t("settings.sessions")}</Menu.Item>
          {may("create_api_token") && <Menu.Item onClick={() => void navigate({ to: "/settings/$section", params: { section: "tokens" } })}>{t("settings.tokens")}</Menu.Item>}
          <Menu.Item onClick={() => void navigate({ to: "/docs" })}>{t("nav.docs")}</Menu.Item>
          <Menu.Divider />
          <Menu.Item onClick={() => void logOut()}>{t("nav.logOut")}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {changing && <ChangePassword close={() => setChanging(false)} />}
    </header>
  );
}

/** Over the page, not instead of it: what was typed stays. */
function LogInAgain() {
  const { t } = useTranslation();
  const me = useMe();
  const [asked, setAsked] = useState(false);
  useEffect(() => {
    onUnauthenticated(() => setAsked(true));
    return () => onUnauthenticated(() => {});
  }, []);
  useEffect(() => {
    onLegacyChanged((fields) => {
      const names = fields.map((field) => t(`customer.${field}` as never, { defaultValue: field }) as unknown as string);
      notifications.show({ message: t("common.legacyChanged", { fields: names.join("、") }), color: "orange", autoClose: 15_000 });
    });
    return () => onLegacyChanged(() => {});
  }, [t]);
  const done = () => {
    setAsked(false);
    void cache.invalidateQueries();
  };
  return (
    <Modal opened={asked} onClose={() => {}} withCloseButton={false} closeOnClickOutside={false} closeOnEscape={false} title={t("login.expired")} size="sm">
      <Text fz="sm" mb="sm">
        {t("login.expiredHint")}
      </Text>
      <LogInForm login={me.user.login} done={done} />
    </Modal>
  );
}

function Events() {
  useEvents();
  return null;
}

/** The name of the page in the browser's tab. */
function useTitle() {
  const { t } = useTranslation();
  const { pathname } = useLocation();
  const page = pages.find((p) => (p.to === "/" ? pathname === "/" : pathname === p.to || pathname.startsWith(`${p.to}/`)));
  const name = page ? t(page.label) : pathname.startsWith("/settings") ? t("nav.settings") : undefined;
  useEffect(() => {
    document.title = name ? `${name} – Enishi` : "縁 Enishi";
    return () => {
      document.title = "縁 Enishi";
    };
  }, [name]);
}

export function Shell() {
  const { t } = useTranslation();
  const location = useLocation();
  useTitle();
  const { data: me, error, isPending, refetch } = useSession();
  if (isPending) return <Center h="100%"><Loader size="sm" aria-label={t("common.loading")} /></Center>;
  if (error && me === undefined) return <div className="page"><ProblemAlert error={error} retry={() => void refetch()} /></div>;
  // While the router is on its way there, this page is still shown.
  if (!me && location.pathname === "/login") return null;
  if (!me) return <Navigate to="/login" search={location.href === "/" ? {} : { to: location.href }} replace />;
  if (location.pathname === "/" && homeOf(me.operations) !== "/") return <Navigate to={homeOf(me.operations)} replace />;
  return (
    <>
      <Header />
      <Outlet />
      <LogInAgain />
      {"stream_events" in me.operations ? <Events /> : null}
    </>
  );
}
