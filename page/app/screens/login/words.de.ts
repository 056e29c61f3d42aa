import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  title: 'Bei Ensue anmelden',
  token: 'Token',
  tokenHelp: 'Es beginnt mit ens_. Der Browser kann es als Passwort speichern.',
  logIn: 'Anmelden',
  with: (issuer) => `Mit ${issuer} anmelden`,
  or: 'oder',
  name: 'Name',
  password: 'Passwort',
  otp: 'Code der Authenticator-App, falls vorhanden',
  link: 'Das ist ein Link zum Anmelden.',
  useLink: 'Mit dem Link anmelden',
  insecure: 'Dieser Knoten nimmt von anderen Rechnern keine Anmeldung über unverschlüsseltes HTTP an. Bitte https benutzen oder den Port mit ssh -L weiterleiten.',
};

export default de;
