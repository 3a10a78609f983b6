import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet, redirect } from "@tanstack/react-router";
import { Crash } from "./pages/crash";
import { NotFound } from "./pages/not_found";
import { LogInPage } from "./pages/log_in";
import { WelcomePage } from "./pages/welcome";
import { Shell } from "./shell";

type Search = Record<string, unknown>;
/** The texts of an address's query that a page knows; everything else is dropped. */
const only = <K extends string>(...keys: K[]) => (search: Search): { [P in K]?: string } =>
  Object.fromEntries(keys.filter((k) => search[k] !== undefined && search[k] !== "").map((k) => [k, String(search[k])])) as { [P in K]?: string };

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });
const login = createRoute({ getParentRoute: () => root, path: "/login", component: LogInPage, validateSearch: only("to") });
const welcome = createRoute({ getParentRoute: () => root, path: "/welcome", component: WelcomePage });
const docs = createRoute({ getParentRoute: () => root, path: "/docs", component: lazyRouteComponent(() => import("./pages/docs"), "DocsPage") });
const app = createRoute({ getParentRoute: () => root, id: "app", component: Shell });
const customers = createRoute({ getParentRoute: () => app, path: "/customers", component: lazyRouteComponent(() => import("./customers/list"), "CustomersPage"), validateSearch: only("q") });
const customer = createRoute({ getParentRoute: () => app, path: "/customers/$customerId", component: lazyRouteComponent(() => import("./customers/customer"), "CustomerPage") });
const index = createRoute({ getParentRoute: () => app, path: "/", component: lazyRouteComponent(() => import("./desk/desk"), "DeskPage") });
const inquiries = createRoute({ getParentRoute: () => app, path: "/inquiries", component: lazyRouteComponent(() => import("./inquiries/list"), "InquiriesPage") });
const newInquiry = createRoute({ getParentRoute: () => app, path: "/inquiries/new", component: lazyRouteComponent(() => import("./inquiries/new"), "NewInquiryPage"), validateSearch: only("customer_id", "phone", "call_id") });
const inquiry = createRoute({ getParentRoute: () => app, path: "/inquiries/$inquiryId", component: lazyRouteComponent(() => import("./inquiries/inquiry"), "InquiryPage") });
const visits = createRoute({ getParentRoute: () => app, path: "/visits", component: lazyRouteComponent(() => import("./visits/visits"), "VisitsPage"), validateSearch: only("day", "id") });
const compliance = createRoute({ getParentRoute: () => app, path: "/compliance", component: lazyRouteComponent(() => import("./compliance/compliance"), "CompliancePage") });
const imports = createRoute({ getParentRoute: () => app, path: "/imports", component: lazyRouteComponent(() => import("./imports/imports"), "ImportsPage") });
const takeover = createRoute({ getParentRoute: () => app, path: "/takeover", component: lazyRouteComponent(() => import("./takeover/takeover"), "TakeoverPage") });
const continuity = createRoute({ getParentRoute: () => app, path: "/continuity", component: lazyRouteComponent(() => import("./continuity/continuity"), "ContinuityPage") });
const putBack = createRoute({ getParentRoute: () => app, path: "/put-backs", component: lazyRouteComponent(() => import("./continuity/put_back"), "PutBackPage"), validateSearch: only("kind", "request_id", "around", "import_id") });
const settings = createRoute({ getParentRoute: () => app, path: "/settings", component: lazyRouteComponent(() => import("./settings/settings"), "SettingsPage") });
const section = createRoute({ getParentRoute: () => app, path: "/settings/$section", component: lazyRouteComponent(() => import("./settings/settings"), "SettingsPage") });
const views = createRoute({ getParentRoute: () => app, path: "/views", component: lazyRouteComponent(() => import("./compliance/views"), "ViewsPage"), validateSearch: only("user", "customer", "from", "to") });
// Where the users stood before there were other settings.
const admin = createRoute({ getParentRoute: () => app, path: "/admin", beforeLoad: () => { throw redirect({ to: "/settings/$section", params: { section: "users" } }); } });

export const router = createRouter({
  routeTree: root.addChildren([login, welcome, docs, app.addChildren([customers, customer, index, inquiries, newInquiry, inquiry, visits, compliance, imports, takeover, continuity, putBack, settings, section, views, admin])]),
  defaultErrorComponent: Crash,
  // Texts stay texts: q=0312 is no number.
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const text = new URLSearchParams(Object.entries(search).filter(([, v]) => v !== undefined) as [string, string][]).toString();
    return text ? `?${text}` : "";
  },
});
declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
