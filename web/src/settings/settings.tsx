import { Link, Navigate, useParams } from "@tanstack/react-router";
import { type ComponentType, lazy, Suspense } from "react";
import { Loader } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useActiveInSight } from "../parts/sight";
import { useMay } from "../session";

const from = <K extends string>(load: () => Promise<{ [P in K]: ComponentType }>, name: K) => lazy(async () => ({ default: (await load())[name] }));
/** In groups; a section is there for who may change or see what it holds. */
const groups = [
  {
    title: "people",
    sections: [
      { id: "users", needs: ["list_users"], page: from(() => import("../admin/users"), "UsersSection") },
      { id: "teams", needs: ["list_users"], page: from(() => import("./teams"), "TeamsSection") },
      { id: "roles", needs: ["list_roles"], page: from(() => import("./roles"), "RolesSection") },
      { id: "tokens", needs: ["create_api_token"], page: from(() => import("./tokens"), "TokensSection") },
      { id: "sessions", needs: ["list_user_sessions"], page: from(() => import("./sessions"), "SessionsSection") },
    ],
  },
  {
    title: "work",
    sections: [
      { id: "priorities", needs: ["create_priority_rule"], page: from(() => import("./priorities"), "PrioritiesSection") },
      { id: "rules", needs: ["add_rule"], page: from(() => import("./rules"), "RulesSection") },
      { id: "media", needs: ["create_media_source"], page: from(() => import("./masters"), "MediaSection") },
      { id: "categories", needs: ["create_item_category"], page: from(() => import("./masters"), "CategoriesSection") },
      { id: "fields", needs: ["create_custom_field"], page: from(() => import("./masters"), "FieldsSection") },
    ],
  },
  {
    title: "visits",
    sections: [
      { id: "areas", needs: ["create_service_area"], page: from(() => import("./areas"), "AreasSection") },
      { id: "appraisers", needs: ["create_appraiser"], page: from(() => import("./appraisers"), "AppraisersSection") },
      { id: "slots", needs: ["create_visit_slot_plan"], page: from(() => import("./slots"), "SlotsSection") },
    ],
  },
] as const;
/** Everybody has these, in the menu under their name; they alone make no link in the header. */
const ownOnly = ["tokens", "sessions"];

export function hasSettings(may: (operation: string) => boolean) {
  return groups.some((g) => g.sections.some((s) => !ownOnly.includes(s.id) && s.needs.some(may)));
}

/** Those open to this user, by group. */
function useOpenGroups() {
  const may = useMay();
  return groups.map((g) => ({ ...g, sections: g.sections.filter((s) => s.needs.some(may)) })).filter((g) => g.sections.length > 0);
}

// Apart from the page: it renders at each change of the location, and a <Navigate> that renders again navigates again.
function Sections() {
  const { t } = useTranslation();
  const links = useActiveInSight();
  return (
    <nav className="sections" ref={links} aria-label={t("nav.settings")}>
      {useOpenGroups().map((g) => (
        <div key={g.title}>
          <div className="group">{t(`settings.group_${g.title}`)}</div>
          {g.sections.map((s) => <Link key={s.id} to="/settings/$section" params={{ section: s.id }}>{t(`settings.${s.id}`)}</Link>)}
        </div>
      ))}
    </nav>
  );
}

export function SettingsPage() {
  const { t } = useTranslation();
  const { section } = useParams({ strict: false }) as { section?: string };
  const all = useOpenGroups().flatMap((g) => [...g.sections]);
  const current = all.find((s) => s.id === section);
  if (!current) return all[0] ? <Navigate to="/settings/$section" params={{ section: all[0].id }} replace /> : null;
  const Page = current.page;
  return (
    <div className="settings">
      <Sections />
      <main className="page"><Suspense fallback={<Loader size="sm" aria-label={t("common.loading")} />}><Page /></Suspense></main>
    </div>
  );
}
