import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  run: 'Ausführen',
  runTitle: (action) => `${action} ausführen`,
  parameters: 'Parameter',
  noParameters: 'Sie nimmt keine Parameter.',
  template: 'Mit einer Vorlage beginnen',
  startAt: 'Starten um',
  startAtHelp: 'Leer lassen, um sofort zu starten.',
  labels: 'Labels',
  labelsHelp: 'Eines je Zeile, als Name=Wert. Listen von Ausführungen lassen sich danach filtern.',
  notLabel: (line) => `„${line}“ ist kein Label: nötig ist Name=Wert.`,
  when: 'Wann und wie',
  wrongForm: 'Einige Felder müssen berichtigt werden.',
  badParams: 'Die Adresse hat Parameter, die kein JSON-Objekt sind. Das Formular beginnt leer.',
  mayNot: 'Das Recht, diese Aktion auszuführen, fehlt.',
  link: 'Ein Link zu diesem Formular, wie es ausgefüllt ist',
};

export default de;
