import { Modal, Table } from "@mantine/core";
import { useTranslation } from "react-i18next";

/** Every key of the desk, in the order of a call. */
export const deskKeys = ["n", "s", "h", "digits", "enter", "z", "a", "r", "e", "i", "help"] as const;
const shown: Partial<Record<(typeof deskKeys)[number], string>> = { digits: "1 – 9", enter: "Enter", help: "?" };

export function KeysHelp({ close }: { close: () => void }) {
  const { t } = useTranslation();
  return (
    <Modal opened onClose={close} title={t("keys.title")}>
      <Table withRowBorders={false} highlightOnHover={false}>
        <Table.Tbody>
          {deskKeys.map((k) => (
            <Table.Tr key={k}>
              <Table.Td w={80}><kbd className="key" style={{ fontSize: 12, margin: 0 }}>{shown[k] ?? k.toUpperCase()}</kbd></Table.Td>
              <Table.Td>{t(`keys.${k}`)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <p className="faint" style={{ fontSize: 12.5, margin: "8px 0 0" }}>{t("keys.hint")}</p>
    </Modal>
  );
}
