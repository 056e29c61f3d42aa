import { localized } from '../../words/localized.ts';

export const words = localized({
  title: 'Log in to Ensue',
  token: 'Token',
  tokenHelp: 'It begins with ens_. Your browser can keep it as a password.',
  logIn: 'Log in',
  with: (issuer: string) => `Log in with ${issuer}`,
  or: 'or',
  name: 'Name',
  password: 'Password',
  otp: 'Code of your authenticator, if you have one',
  link: 'You have a login link.',
  useLink: 'Log in with the link',
  insecure: 'This node accepts no login over plain HTTP from another machine. Use https, or forward the port with ssh -L.',
}, 'screens/login/words');
