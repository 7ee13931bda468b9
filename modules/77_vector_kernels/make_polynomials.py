import numpy as np, mpmath as mp, sys
mp.mp.prec=120
def lawson(x,f,w,powers,fixed=0.0,iters=300):
    A=np.stack([x**p for p in powers],1); g=f-fixed
    lam=np.ones_like(x)/len(x)
    for _ in range(iters):
        s=np.sqrt(lam)*w
        c,*_=np.linalg.lstsq(A*s[:,None],g*s,rcond=None)
        e=np.abs(w*(A@c-g)); 
        lam=lam*e; lam/=lam.sum()
    return c,e.max()
def fit32(name,f,w,a,b,deg,n=600):
    x=np.array([float((a+b)/2-(b-a)/2*mp.cos(mp.pi*i/(n-1))) for i in range(n)])
    fv=np.array([float(f(mp.mpf(t))) for t in x]); wv=np.array([float(w(mp.mpf(t))) for t in x])
    best,e0=lawson(x,fv,wv,range(deg+1))
    coef=[]; fixed=np.zeros_like(x)
    for p in range(deg+1):
        c,_=lawson(x,fv,wv,range(p,deg+1),fixed,150)
        coef.append(float(np.float32(c[0]))); fixed=fixed+coef[-1]*x**p
    e=np.abs(wv*(fixed-fv)).max()
    print("//",name,"deg",deg,"ideal 2^%.2f rounded 2^%.2f"%(np.log2(e0),np.log2(e)))
    print("{"+", ".join("%.9gf"%c for c in coef)+"}",flush=True)
L2=mp.log(2)/2; one=mp.mpf(1)
f=lambda r: (mp.expm1(r)-r)/r**2 if abs(r)>1e-9 else one/2+r/6
for d in (4,5): fit32("exp",f,lambda r:(r*r)/mp.exp(r)+mp.mpf('1e-3'),-L2*1.01,L2*1.01,d)
a=mp.sqrt(one/2)-1; b=mp.sqrt(2)-1
P=lambda x: (mp.log1p(x)-x+x*x/2)/x**3 if abs(x)>1e-6 else one/3-x/4
w=lambda x: abs(x**3/mp.log1p(x))+mp.mpf('1e-3') if abs(x)>1e-8 else mp.mpf('1e-3')
for d in (7,8): fit32("log",P,w,a,b,d)
hi=mp.mpf('0.95')
f2=lambda s: mp.erf(mp.sqrt(s))/mp.sqrt(s)-1 if s>1e-12 else 2/mp.sqrt(mp.pi)-1
for d in (5,6): fit32("erf small s=x^2 to %s"%hi,f2,lambda s:1/(1+f2(s)),mp.mpf(0),hi**2,d)
q=lambda x: -mp.log(mp.erfc(x))/x
for d in (6,7,8): fit32("erf large",q,lambda x: x*mp.erfc(x)/mp.erf(x),mp.mpf('0.9'),mp.mpf('4.0'),d)
for k in (2.0,3.0,4.0):
    k=mp.mpf(k); G=lambda a: mp.exp(a*a/2)*mp.erfc(a/mp.sqrt(2))/2
    A=lambda u: k*(1+u)/(1-u); h=(mp.mpf('14.6')-k)/(mp.mpf('14.6')+k)
    f3=lambda u: G(A(u))*(1+A(u))
    for d in (8,9,10): fit32("gelu k=%s (1+a)G"%k,f3,lambda u:1/f3(u),mp.mpf(-1),h,d)
